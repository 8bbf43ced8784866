use super::*;
use crate::template::Redrive;

fn settings(name: &str, max: Option<u32>) -> template::Queue {
    template::Queue {
        logical_id: name.into(),
        name: name.into(),
        arn: name.into(),
        visibility_timeout: Duration::from_secs(30),
        retention: Duration::from_hours(1),
        redrive: max.map(|max_receive_count| Redrive {
            target_arn: "dead".into(),
            max_receive_count,
        }),
    }
}

fn open(max: Option<u32>, folder: Option<&Path>) -> BTreeMap<String, Arc<Queue>> {
    let queues = [settings("q", max), settings("dead", None)];
    open_all(&queues, folder, Clock::start()).expect("the queues open")
}

#[tokio::test(start_paused = true)]
async fn a_message_is_delivered_again_after_its_visibility_timeout() {
    let queue = open(None, None)["q"].clone();
    queue.send("hello".into()).unwrap();
    let first = queue.receive_waiting(10).await.unwrap();
    assert_eq!(first[0].receive_count, 1);
    assert!(queue.receive(10).unwrap().is_empty());
    let started = tokio::time::Instant::now();
    let second = queue.receive_waiting(10).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(30));
    assert_eq!(second[0].receive_count, 2);
    assert_eq!(second[0].first_received, first[0].first_received);
    // An old receipt deletes nothing; the latest does.
    queue.delete(&first[0].id, &first[0].receipt).unwrap();
    tokio::time::advance(Duration::from_secs(31)).await;
    let third = queue.receive(10).unwrap();
    queue.delete(&third[0].id, &third[0].receipt).unwrap();
    tokio::time::advance(Duration::from_secs(31)).await;
    assert!(queue.receive(10).unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_message_delivered_too_often_becomes_a_dead_letter() {
    let queues = open(Some(2), None);
    let queue = &queues["q"];
    queue.send("poison".into()).unwrap();
    for _ in 0..2 {
        assert_eq!(queue.receive(10).unwrap().len(), 1);
        tokio::time::advance(Duration::from_secs(31)).await;
    }
    assert!(queue.receive(10).unwrap().is_empty());
    assert_eq!(queues["dead"].receive(10).unwrap()[0].body, "poison");
}

#[tokio::test(start_paused = true)]
async fn messages_survive_a_restart_and_are_visible_again() {
    let folder = tempfile::tempdir().unwrap();
    {
        let queue = open(Some(5), Some(folder.path()))["q"].clone();
        queue.send("one".into()).unwrap();
        queue.send("two".into()).unwrap();
        let received = queue.receive(10).unwrap();
        let two = received
            .iter()
            .find(|message| message.body == "two")
            .unwrap();
        queue.delete(&two.id, &two.receipt).unwrap();
    }
    std::fs::write(folder.path().join("q/x.part"), "half").unwrap();
    let queue = open(Some(5), Some(folder.path()))["q"].clone();
    let received = queue.receive(10).unwrap();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].body, "one");
    assert_eq!(received[0].receive_count, 2);
    assert!(!folder.path().join("q/x.part").exists());
}

#[tokio::test(start_paused = true)]
async fn a_waiting_receiver_is_woken_by_a_message() {
    let queue = open(None, None)["q"].clone();
    let receiver = tokio::spawn({
        let queue = queue.clone();
        async move { queue.receive_waiting(1).await.unwrap() }
    });
    tokio::task::yield_now().await;
    queue.send("late".into()).unwrap();
    assert_eq!(receiver.await.unwrap()[0].body, "late");
}

#[tokio::test(start_paused = true)]
async fn an_old_message_is_dropped() {
    let queue = open(None, None)["q"].clone();
    queue.send("old".into()).unwrap();
    tokio::time::advance(Duration::from_secs(3601)).await;
    assert!(queue.receive(1).unwrap().is_empty());
}
