//! Several local stacks at once, on different ports and in different folders: they share nothing.

use std::thread;

use crate::dev::{Api, Dev, folder, has_ended, succeeded};
use crate::{ids_in, sample};

#[tokio::test(flavor = "multi_thread")]
async fn two_local_stacks_at_once_share_nothing() {
    let (one, other) = (folder(), folder());
    let stacks = [one.path(), other.path()].map(|folder| (folder, Dev::start(folder, &[])));
    // Different rows of one account.
    let wanted = ["1", "2"]
        .into_iter()
        .zip(&stacks)
        .map(|(seed, (folder, _))| ids_in(&sample(folder, "roster.csv", &["3000", "--seed", seed])))
        .collect::<Vec<_>>();
    assert_ne!(wanted[0], wanted[1]);
    thread::scope(|scope| {
        let uploads = stacks
            .iter()
            .map(|(folder, dev)| scope.spawn(move || dev.upload(folder, "roster.csv", &[])))
            .collect::<Vec<_>>();
        for upload in uploads {
            succeeded(&upload.join().expect("the upload ends"));
        }
    });
    for ((_, dev), wanted) in stacks.iter().zip(&wanted) {
        let api = Api::new(dev, &dev.key());
        assert_eq!(api.ids("aid=4").await, *wanted);
        let batches = api.get("/api/members/batch").await;
        assert_eq!(batches["results"].as_array().map(Vec::len), Some(1));
    }

    // A key of one is invalid in the other; and one continues when the other is gone.
    let [(folder, one), (_, other)] = stacks;
    succeeded(&one.keys(folder, &["create", "--id", "look", "--role", "reader"]));
    let foreign = Api::new(&other, &one.key());
    assert_eq!(foreign.status("/api/members/?aid=4").await, 401);
    let own = Api::new(&other, &other.key());
    assert_eq!(own.status("/api/keys/look").await, 404);
    other.process.kill();
    succeeded(&one.upload(folder, "roster.csv", &[]));
    let again = Api::new(&one, &one.key()).newest(has_ended).await;
    assert_eq!(again["rows"]["unchanged"], 3000);
}
