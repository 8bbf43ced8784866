//! Reading the status of a batch, and lists of batches.

use std::time::Duration;

use mpulse_tests::{Stack, text};
use serde_json::json;

const BATCHES: &str = "/api/members/batch";

/// A valid id that no batch has.
const UNKNOWN: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_batch_is_not_found() {
    let stack = Stack::start().await;
    for id in [
        UNKNOWN,
        "1",
        "template",
        "01ARZ3NDEKTSV4RRFFQ69G5FAVX",
        "%20",
    ] {
        let path = format!("{BATCHES}/{id}");
        stack.get(&path).await.problem(404, "not-found");
        stack.delete(&path).await.problem(404, "not-found");
        stack
            .get(&format!("{path}/rejects"))
            .await
            .problem(404, "not-found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_listed_newest_first_page_by_page() {
    let stack = Stack::start().await;
    let empty = stack.get(BATCHES).await;
    empty.expect(200);
    assert_eq!(empty.json(), json!({"next": null, "results": []}));
    let mut opened = Vec::new();
    for _ in 0..5 {
        let batch = stack.open_batch(&json!({})).await;
        opened.push(text(&batch["batch_id"]).to_owned());
        // Ids of one millisecond have no order; a response takes longer than that.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    opened.reverse();
    for limit in [1, 2, 4, 5, 100] {
        let mut listed = Vec::new();
        let mut url = format!("{BATCHES}?limit={limit}");
        loop {
            let answer = stack.get(&url).await;
            answer.expect(200);
            let page = answer.json();
            let results = page["results"].as_array().unwrap();
            assert!(results.len() <= limit);
            listed.extend(
                results
                    .iter()
                    .map(|batch| text(&batch["batch_id"]).to_owned()),
            );
            let Some(next) = page["next"].as_str() else {
                break;
            };
            assert_eq!(answer.header("link"), format!("<{next}>; rel=\"next\""));
            next.clone_into(&mut url);
        }
        assert_eq!(listed, opened, "{limit} a page");
    }
    let first = &stack.get(BATCHES).await.json()["results"][0];
    assert_eq!(*first, stack.batch(&opened[0]).await, "the same as alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_list_of_batches_names_the_parameter() {
    let stack = Stack::start().await;
    for (query, field, code) in [
        ("limit=0", "limit", "invalid_limit"),
        ("limit=101", "limit", "invalid_limit"),
        ("limit=x", "limit", "invalid_limit"),
        ("cursor=1", "cursor", "invalid_cursor"),
        ("status=failed", "status", "unknown_parameter"),
    ] {
        let answer = stack.get(&format!("{BATCHES}?{query}")).await;
        assert_eq!(
            answer.faults(),
            [(field.to_owned(), code.to_owned())],
            "{query}"
        );
    }
}
