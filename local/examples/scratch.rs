//! Throwaway.
use mpulse_local::*;
#[tokio::main]
async fn main() {
    let data = match std::env::args().nth(1) {
        Some(p) => Data::Folder(p.into()),
        None => Data::Ephemeral,
    };
    let m = Machine::start(Options {
        template: BUILT_IN_TEMPLATE.into(),
        parameters: Default::default(),
        data,
        port: 19400,
        invoke: None,
    })
    .await
    .unwrap();
    println!("ready {}", m.api_url());
    if std::env::args().nth(2).as_deref() == Some("bench") {
        let c = m.setup().dynamodb().unwrap();
        let t = m
            .template()
            .tables
            .iter()
            .find(|t| t.logical_id == "MembersTable")
            .unwrap()
            .name
            .clone();
        let start = std::time::Instant::now();
        let mut set = tokio::task::JoinSet::new();
        for w in 0..8u32 {
            let (c, t) = (c.clone(), t.clone());
            set.spawn(async move {
                use aws_sdk_dynamodb::types::*;
                for b in 0..50u32 {
                    let reqs = (0..25)
                        .map(|i| {
                            let id = format!("{}", w * 1_000_000 + b * 25 + i);
                            let s = |v: &str| AttributeValue::S(v.into());
                            WriteRequest::builder()
                                .put_request(
                                    PutRequest::builder()
                                        .item("account_id", s("4"))
                                        .item("client_member_id", s(&id))
                                        .item("phone_number", s(&format!("+1714555{id}")))
                                        .item("first_name", s("A"))
                                        .item("last_name", s("B"))
                                        .build()
                                        .unwrap(),
                                )
                                .build()
                        })
                        .collect();
                    c.batch_write_item()
                        .request_items(t.clone(), reqs)
                        .send()
                        .await
                        .unwrap();
                }
            });
        }
        set.join_all().await;
        let e = start.elapsed();
        println!(
            "10000 rows in {e:?}: {:.0} rows/s",
            10000.0 / e.as_secs_f64()
        );
        // big object
        let s3 = m.setup().s3().unwrap();
        let b = m.template().buckets[0].name.clone();
        let pc = aws_sdk_dynamodb_presign();
        let put = s3
            .put_object()
            .bucket(&b)
            .key("rejects/big")
            .presigned(pc.clone())
            .await
            .unwrap();
        println!("PUT {}", put.uri());
        let get = s3
            .get_object()
            .bucket(&b)
            .key("rejects/big")
            .presigned(pc)
            .await
            .unwrap();
        println!("GET {}", get.uri());
    }
    tokio::signal::ctrl_c().await.unwrap();
    m.stop().await;
    println!("stopped");
}
fn aws_sdk_dynamodb_presign() -> aws_sdk_s3::presigning::PresigningConfig {
    aws_sdk_s3::presigning::PresigningConfig::expires_in(std::time::Duration::from_secs(600))
        .unwrap()
}
