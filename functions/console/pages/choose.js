// A chosen file before it is sent: how it is read, its columns and first rows, and the settings of its batch.

import { holder } from "./api.js";
import { alert, busy, bytes, form, h, labelled, plural, say, select } from "./dom.js";
import { mapping } from "./mapping.js";
import { preview } from "./preview.js";

const MODES = [
  ["upsert", "create new members, update members that differ"],
  ["create", "create new members, do not change existing ones"],
  ["overwrite", "write every row without comparing"],
];
const REPLACE = ["replace", "replace the account’s members: also remove those who are not in the file"];
// The registry's own limit.
const REMOVAL_LIMIT = "10%";

const ENCODINGS = [
  ["", "Automatic"],
  ["utf-8", "UTF-8"],
  ["windows-1252", "Windows-1252 (Western Europe)"],
  ["windows-1250", "Windows-1250 (Central Europe)"],
  ["windows-1251", "Windows-1251 (Cyrillic)"],
  ["iso-8859-15", "ISO-8859-15"],
  ["macintosh", "Macintosh"],
  ["shift_jis", "Shift_JIS"],
  ["gbk", "GBK"],
  ["big5", "Big5"],
  ["euc-kr", "EUC-KR"],
  ["utf-16le", "UTF-16LE"],
];

const DELIMITERS = { ",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes" };
const KINDS = { gzip: "compressed by gzip", zip: "in a zip archive" };

const ACCOUNT_HINTS = {
  true: "The file has no account column: enter the account of its members",
  false: "Only for rows without an account",
};
const REPLACED_HINT = "The account whose members the file replaces";

const GARBLED = "The file is not UTF-8. Choose its encoding, probably Windows-1252 (Western Europe). Otherwise rows with such characters are rejected.";
const GARBLED_AS_CHOSEN = "Some characters do not exist in this encoding. Choose another one. Otherwise rows with them are rejected.";

// Returns the element. `send` creates a batch with the settings; `remove` makes a button.
export async function choose(file, { parent, remove, send }) {
  const accounts = holder().accounts;
  const account = parent?.account_id ?? (accounts?.length === 1 ? accounts[0] : "");
  // The present preview, and its columns.
  let found;
  let columns;
  const again = async () => {
    await read();
    say(`The preview of ${file.name} was renewed.`);
  };
  const encoding = select({ onchange: again }, ENCODINGS);
  const sheet = select({ onchange: again }, []);
  const headless = h("input", { type: "checkbox", onchange: again });
  const [encodings, sheets] = [labelled("Encoding", encoding), labelled("Sheet", sheet)];
  const settings = h("div", { class: "settings" }, encodings, sheets, labelled("The file has no header", headless));
  const summary = h("p");
  const content = h("div");

  const settingsForm = form({
    fields: [
      { name: "account_id", label: "Account", hint: ACCOUNT_HINTS.false },
      // A report has only the rejected rows: everyone else would be removed.
      { name: "mode", label: "Existing members", options: parent ? MODES : [...MODES, REPLACE], onchange: () => draw() },
      {
        name: "removal", label: "Remove at most", value: REMOVAL_LIMIT,
        hint: "A share of the account’s members, such as 10%, or a number. If more are not in the file, nobody is removed",
      },
      {
        name: "despite_unreadable_rows", type: "checkbox", label: "Remove despite unreadable rows",
        hint: "A row whose client id cannot be read may be that of a member who is then removed",
      },
      {
        name: "default_region", label: "Country of phone numbers without country code", maxlength: 2,
        hint: "Two letters, such as GB. If empty, the country of this registry",
      },
      { name: "keep_on", type: "checkbox", label: "Continue even if nearly all of the first rows are rejected" },
    ],
    action: "Send",
    other: "Preview",
    secondary: remove(),
    submit: async ({ account_id, mode, removal, despite_unreadable_rows, default_region, keep_on }, isPreview) => {
      if (!account_id && columns.accountMissing) throw { message: "An account is required.", fields: [{ field: "account_id", message: "is required, because the file has no account column" }] };
      // An empty choice keeps a corrected report from inheriting its file's.
      const none = parent?.columns && !headless.checked ? {} : undefined;
      const request = { mode, ...options(), columns: columns.columns ?? none };
      if (account_id) request.account_id = account_id;
      if (default_region) request.default_region = default_region.toUpperCase();
      if (keep_on) request.stop_early = false;
      if (isPreview) request.dry_run = true;
      if (mode === REPLACE[0]) {
        const limit = removal || REMOVAL_LIMIT;
        request.removal = { limit: /^\d+$/.test(limit) ? Number(limit) : limit, despite_unreadable_rows };
      }
      if (parent) request.parent_batch_id = parent.batch_id;
      await send(request);
      columns.remember();
    },
  });
  const accountField = settingsForm.elements.account_id;
  const bare = h("div", { class: "actions" }, remove());
  const about = h("p", { class: "hint" }, "Preview sends the file too, but writes no member: it shows what would change and what that costs, and you can apply it then.");

  // The settings by which the file is read, if they differ from the usual ones.
  const options = () => ({
    ...(encoding.value && found?.kind !== "workbook" && { encoding: encoding.value }),
    ...(sheet.selectedIndex > 0 && { sheet: sheet.value }),
    ...(headless.checked && { header: false }),
  });

  function draw() {
    const { kind, charset, delimiter, header } = found;
    const isBook = kind === "workbook";
    summary.textContent = [
      bytes(file.size), KINDS[kind],
      isBook ? `Excel workbook, sheet “${found.sheet}”` : `separated by ${DELIMITERS[delimiter] ?? `“${delimiter}”`}`,
      charset !== "utf-8" && (ENCODINGS.find(([label]) => label === charset)?.[1] ?? charset.toUpperCase()),
      found.line > 1 && !headless.checked && `header in line ${found.line}`,
      `${columns.fields.filter(Boolean).length} of ${plural(header.length, "column")} used`,
    ].filter(Boolean).join(" · ");
    const { accountMissing, problem } = columns;
    const isReplaced = settingsForm.elements.mode.value === REPLACE[0];
    for (const name of ["removal", "despite_unreadable_rows"]) settingsForm.reveal(name, isReplaced);
    settingsForm.hint("account_id", isReplaced ? REPLACED_HINT : ACCOUNT_HINTS[accountMissing]);
    if (accountMissing || isReplaced) accountField.value ||= account;
    else if (accountField.value === account) accountField.value = "";
    settingsForm.block(problem);
  }

  async function read() {
    const chosen = options();
    // A corrected report has the columns of its file.
    const inherited = !headless.checked && parent?.columns && !Array.isArray(parent.columns) ? { columns: parent.columns } : {};
    const result = await preview(file, { ...inherited, ...chosen })
      .catch(() => ({ problem: "This cannot be read: it is a folder, or it was moved or deleted." }));
    // Another setting was changed in the meantime.
    if (JSON.stringify(chosen) !== JSON.stringify(options())) return;
    // The user's choice of columns stays if it is about the same ones.
    const before = columns?.isTouched && found.sheet === result.sheet ? columns.fields : null;
    found = result;
    settings.hidden = !found.kind;
    encodings.hidden = found.kind === "workbook";
    sheets.hidden = !(found.sheets?.length > 1);
    if (found.sheets && !sheet.options.length) sheet.append(...found.sheets.map((name) => h("option", { value: name }, name)));
    settingsForm.hidden = found.problem !== undefined;
    about.hidden = settingsForm.hidden;
    bare.hidden = !settingsForm.hidden;
    if (found.problem) {
      summary.textContent = bytes(file.size);
      content.replaceChildren(alert(found.problem));
      return;
    }
    columns = mapping(found, { name: file.name, headless: headless.checked, before, changed: draw });
    const usual = busy("Use the usual columns", () => {
      columns.forget();
      remembered.remove();
      columns.element.focus();
      draw();
    });
    const remembered = h("div", { class: "note" }, "The columns are set as for the last file with this header. ", usual);
    content.replaceChildren(...[
      found.isGarbled && alert(found.encoding ? GARBLED_AS_CHOSEN : GARBLED),
      columns.isRemembered && remembered,
      columns.element,
    ].filter(Boolean));
    draw();
  }

  await read();
  return h("div", null, summary, settings, content, settingsForm, about, bare);
}
