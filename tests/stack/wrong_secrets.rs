//! The limit of wrong secrets: it saves reads of the keys table, and never locks the holder of a key out.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mpulse_shared::key::Role;
use mpulse_shared::time::Timestamp;
use mpulse_tests::{Answer, Login, PATIENCE, Stack, send};
use reqwest::Method;

/// Wrong secrets of one key id that are checked before the limit applies.
const BURST: usize = 20;

const PATH: &str = "/api/members/4~nobody";

fn login(id: &str, secret: &str) -> Login {
    Login {
        id: id.to_owned(),
        secret: secret.to_owned(),
    }
}

async fn get_as(stack: &Stack, login: &Login) -> Answer {
    send(stack.request_as(login, Method::GET, PATH)).await
}

/// Sends wrong secrets for a key id one after the other, and returns the responses.
async fn guess(stack: &Stack, id: &str, times: usize) -> Vec<Answer> {
    let mut answers = Vec::new();
    for number in 0..times {
        answers.push(get_as(stack, &login(id, &format!("wrong-{number}"))).await);
    }
    answers
}

fn reads(stack: &Stack) -> usize {
    let faults = stack.local_stack.faults().expect("faults");
    usize::try_from(faults.counters().dynamodb).expect("few")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_beyond_the_limit_is_rejected_without_a_read() {
    let stack = Stack::with_faults("seed=1").await;
    let (before, start) = (reads(&stack), Instant::now());
    let answers = guess(&stack, "writer", 200).await;
    let seconds = usize::try_from(start.elapsed().as_secs()).expect("few");
    for answer in &answers[..BURST] {
        answer.problem(401, "wrong-key");
    }
    let (limited, checked): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 429);
    assert!(checked.len() <= BURST + seconds + 1, "{}", checked.len());
    assert_eq!(reads(&stack) - before, checked.len(), "one read each");
    for answer in limited {
        answer.problem(429, "too-many-wrong-secrets");
        assert_eq!(answer.header("retry-after"), "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_holder_of_a_key_is_not_locked_out_during_an_attack() {
    let stack = Stack::start().await;
    let attack = async {
        let attackers = (0..8).map(|_| guess(&stack, "writer", 100));
        let answers = join_all(attackers).await.concat();
        let limited = answers.iter().filter(|answer| answer.status == 429).count();
        assert!(
            limited > answers.len() / 2,
            "{limited} of {}",
            answers.len()
        );
        assert!(
            answers
                .iter()
                .all(|answer| [401, 429].contains(&answer.status))
        );
    };
    let holder = async {
        for _ in 0..200 {
            get_as(&stack, &stack.writer).await.expect(404);
        }
    };
    tokio::join!(attack, holder);
    // Other keys are not affected, and a revoked one is invalid at once.
    get_as(&stack, &stack.reader).await.expect(404);
    let (keys, id) = (stack.keys(), "writer".parse().expect("a key's id"));
    let revoked = keys.revoke(&id, Timestamp::now()).await;
    revoked.expect("the table answers").expect("the key");
    get_as(&stack, &stack.writer)
        .await
        .problem(401, "wrong-key");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_does_not_reveal_which_ids_exist() {
    let stack = Stack::start().await;
    let known = guess(&stack, "writer", 2 * BURST).await;
    let unknown = guess(&stack, "nobody", 2 * BURST).await;
    let responses = |answers: &[Answer]| -> BTreeSet<(u16, Vec<u8>)> {
        let pairs = answers.iter().map(|one| (one.status, one.body.clone()));
        pairs.collect()
    };
    assert_eq!(responses(&known), responses(&unknown));
    assert_eq!(responses(&known[..BURST]), responses(&unknown[..BURST]));
    assert_eq!(responses(&known).len(), 2, "401 and 429");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_created_during_an_attack_on_its_id_is_accepted_in_a_second() {
    let stack = Stack::start().await;
    guess(&stack, "late", 2 * BURST).await;
    stack.fixed_key("late", "right", Role::Reader).await;
    let (holder, start) = (login("late", "right"), Instant::now());
    while get_as(&stack, &holder).await.status != 404 {
        guess(&stack, "late", 5).await;
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // From then on always.
    for _ in 0..50 {
        guess(&stack, "late", 1).await;
        get_as(&stack, &holder).await.expect(404);
    }
}
