//! Text from files in messages for people: names in an archive, columns of a header. It may be of any length, and contain
//! characters that change how the rest of a message looks.

use crate::member::is_printable;

/// The most characters of a name in a list.
const MAX_NAME: usize = 60;

/// What stands for a character that is not visible.
const REPLACEMENT: char = '\u{FFFD}';

/// Returns at most `most` characters of a text, and `…` if there are more. Control and format characters are replaced.
#[must_use]
pub fn readable(text: &str, most: usize) -> String {
    let visible = |c| if is_printable(c) { c } else { REPLACEMENT };
    let mut shown: String = text.chars().take(most).map(visible).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

/// Returns the first `most` names, each cut to a length that a person reads, and `…` if there are more.
#[must_use]
pub fn list<'a>(names: impl ExactSizeIterator<Item = &'a str>, most: usize) -> String {
    let more = names.len() > most;
    let mut shown: Vec<String> = names
        .take(most)
        .map(|name| readable(name, MAX_NAME))
        .collect();
    if more {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_and_has_visible_characters_only() {
        assert_eq!(readable("Zoë's \"a\" <b>.csv", 50), "Zoë's \"a\" <b>.csv");
        assert_eq!(
            readable("a\0b\nc\u{202E}d\u{2028}", 50),
            "a\u{FFFD}b\u{FFFD}c\u{FFFD}d\u{FFFD}"
        );
        assert_eq!(readable("äöü", 3), "äöü");
        assert_eq!(readable("äöüß", 3), "äöü…");
    }

    #[test]
    fn a_list_is_cut() {
        let long = "x".repeat(1000);
        let names = ["a", &long, "c", "d"];
        let shown = list(names.into_iter(), 3);
        assert_eq!(shown, format!("a, {}…, c, …", "x".repeat(60)));
        assert_eq!(list(["a", "b"].into_iter(), 2), "a, b");
    }
}
