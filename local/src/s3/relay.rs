//! An S3 elsewhere, in place of the local stack's own. Its buckets are created from the template, and requests pass
//! through unchanged. It cannot notify the local stack's queues, so an object that a request created is announced here,
//! before the response, even if the sender has disconnected.

use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::operation::create_bucket::CreateBucketError;
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::types::{CorsConfiguration, CorsRule};
use http::header::ETAG;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use mpulse_shared::setup::Setup;
use percent_encoding::percent_decode_str;

use super::S3Error;
use super::error;
use super::event::{Announcer, Created};
use crate::addresses::Endpoints;
use crate::settings::lambda_variables;
use crate::tasks::Tasks;
use crate::template::Bucket;
use crate::upstream::{Body, BoxError, Upstream, streamed};

/// The way to an S3 elsewhere.
#[derive(Debug)]
pub(super) struct Relay {
    upstream: Upstream,
    client: Client,
    announcer: Announcer,
    tasks: Arc<Tasks>,
}

impl Relay {
    /// Creates the buckets at `endpoint`. Their objects are announced by `announcer`.
    pub(super) async fn start(
        endpoint: &str,
        buckets: &[Bucket],
        announcer: Announcer,
        tasks: Arc<Tasks>,
    ) -> Result<Self, S3Error> {
        let upstream = Upstream::new(endpoint);
        let upstream = upstream.ok_or_else(|| S3Error::Endpoint(endpoint.to_owned()))?;
        let variables = lambda_variables(&Endpoints {
            s3: endpoint.to_owned(),
            ..Endpoints::default()
        });
        let client = Setup::new(variables.into_iter().collect()).s3()?;
        for bucket in buckets {
            let refused = |reason: BoxError| S3Error::Refused {
                bucket: bucket.name.clone(),
                reason: DisplayErrorContext(&*reason).to_string(),
            };
            ensure(&client, bucket).await.map_err(refused)?;
        }
        Ok(Self {
            upstream,
            client,
            announcer,
            tasks,
        })
    }

    /// Passes a request on. `None` closes the connection to the sender.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Option<Response<Body>> {
        let request = request.map(streamed);
        let Some(creation) = Creation::of(&request) else {
            return self.upstream.forward(request).await;
        };
        let tasks = Arc::clone(&self.tasks);
        let work = async move {
            let response = self.upstream.forward(request).await?;
            if response.status() != StatusCode::OK {
                return Some(response);
            }
            let e_tag = response
                .headers()
                .get(ETAG)
                .and_then(|tag| tag.to_str().ok());
            Some(self.announce(&creation, e_tag).await.map_or_else(
                |error| {
                    tracing::error!(%error, "an upload was not announced");
                    failure()
                },
                |()| response,
            ))
        };
        tasks.run(work).await.flatten()
    }

    /// Announces the object that a request created; `e_tag` is that of the response.
    async fn announce(&self, creation: &Creation, e_tag: Option<&str>) -> Result<(), BoxError> {
        let Creation {
            event,
            bucket,
            key,
            size,
        } = creation;
        let (size, e_tag) = match size.zip(e_tag) {
            Some((size, e_tag)) => (size, e_tag.to_owned()),
            None => match self.describe(bucket, key).await? {
                Some(described) => described,
                // A completion may fail after the status was sent.
                None => return Ok(()),
            },
        };
        self.announcer.announce(&Created {
            event,
            bucket,
            key,
            size,
            e_tag: e_tag.trim_matches('"'),
        })?;
        Ok(())
    }

    /// Returns the size and `ETag` of an object, if it exists.
    async fn describe(&self, bucket: &str, key: &str) -> Result<Option<(u64, String)>, BoxError> {
        let head = self.client.head_object().bucket(bucket).key(key);
        match head.send().await {
            Ok(object) => {
                let size = object.content_length().unwrap_or_default().try_into()?;
                Ok(Some((size, object.e_tag.unwrap_or_default())))
            }
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(HeadObjectError::is_not_found) =>
            {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The event of an object that is the body of a request.
const PUT: &str = "ObjectCreated:Put";

/// A request that creates an object.
#[derive(Debug, PartialEq, Eq)]
struct Creation {
    event: &'static str,
    bucket: String,
    key: String,
    /// The size in bytes, if the request is the whole object.
    size: Option<u64>,
}

impl Creation {
    fn of<B>(request: &Request<B>) -> Option<Self> {
        let path = request.uri().path().strip_prefix('/')?;
        let (bucket, key) = path.split_once('/').filter(|(_, key)| !key.is_empty())?;
        let query = request.uri().query().unwrap_or_default();
        let mut parameters = query
            .split('&')
            .map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
        let event = match *request.method() {
            // Other parameters name a part, or something else than the object.
            Method::PUT if parameters.all(is_plain) => {
                if request.headers().contains_key("x-amz-copy-source") {
                    "ObjectCreated:Copy"
                } else {
                    PUT
                }
            }
            Method::POST if parameters.any(|name| name == "uploadId") => {
                "ObjectCreated:CompleteMultipartUpload"
            }
            _ => return None,
        };
        let size = ["x-amz-decoded-content-length", "content-length"]
            .iter()
            .find_map(|name| request.headers().get(*name)?.to_str().ok()?.parse().ok());
        Some(Self {
            event,
            bucket: bucket.to_owned(),
            key: percent_decode_str(key).decode_utf8().ok()?.into_owned(),
            size: size.filter(|_| event == PUT),
        })
    }
}

/// Returns whether a query parameter is a part of a signature, or the SDK's name of the operation.
fn is_plain(name: &str) -> bool {
    name.is_empty() || name == "x-id" || name.to_ascii_lowercase().starts_with("x-amz-")
}

/// Creates a bucket if it does not exist, with its CORS rules.
async fn ensure(client: &Client, bucket: &Bucket) -> Result<(), BoxError> {
    let created = client.create_bucket().bucket(&bucket.name).send().await;
    if let Err(error) = created
        && !error
            .as_service_error()
            .is_some_and(CreateBucketError::is_bucket_already_owned_by_you)
    {
        return Err(error.into());
    }
    if bucket.cors.is_empty() {
        return Ok(());
    }
    let mut rules = CorsConfiguration::builder();
    for rule in &bucket.cors {
        let rule = CorsRule::builder()
            .set_allowed_methods(Some(rule.methods.clone()))
            .set_allowed_origins(Some(rule.origins.clone()))
            .set_allowed_headers(Some(rule.headers.clone()))
            .set_expose_headers(Some(rule.exposed.clone()))
            .set_max_age_seconds(rule.max_age.and_then(|age| age.try_into().ok()));
        rules = rules.cors_rules(rule.build()?);
    }
    let put = client.put_bucket_cors().bucket(&bucket.name);
    put.cors_configuration(rules.build()?).send().await?;
    Ok(())
}

fn failure() -> Response<Body> {
    error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "InternalError",
        "We encountered an internal error. Please try again.",
    )
    .map(|body| body.map_err(Into::into).boxed_unsync())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(method: Method, uri: &str) -> Option<(&'static str, String)> {
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        Creation::of(&request).map(|one| (one.event, format!("{} {}", one.bucket, one.key)))
    }

    #[test]
    fn requests_that_create_objects_are_recognised() {
        let signed = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0&x-id=PutObject";
        for (method, uri, event) in [
            (Method::PUT, "/b/uploads/a%20b.csv", "ObjectCreated:Put"),
            (
                Method::PUT,
                &format!("/b/uploads/a%20b.csv?{signed}"),
                "ObjectCreated:Put",
            ),
            (
                Method::POST,
                "/b/uploads/a%20b.csv?uploadId=1",
                "ObjectCreated:CompleteMultipartUpload",
            ),
        ] {
            let expected = (event, "b uploads/a b.csv".to_owned());
            assert_eq!(created(method, uri), Some(expected), "{uri}");
        }
        for (method, uri) in [
            (Method::PUT, "/b/k?partNumber=1&uploadId=1"),
            (Method::PUT, "/b/k?tagging"),
            (Method::PUT, "/b"),
            (Method::PUT, "/b/"),
            (Method::POST, "/b/k?uploads"),
            (Method::POST, "/b?delete"),
            (Method::GET, "/b/k"),
        ] {
            assert_eq!(created(method, uri), None, "{uri}");
        }
        let copy = Request::put("/b/k")
            .header("content-length", "0")
            .header("x-amz-copy-source", "b/other");
        let copy = Creation::of(&copy.body(()).unwrap()).unwrap();
        assert_eq!((copy.event, copy.size), ("ObjectCreated:Copy", None));
        let chunked = Request::put("/b/k")
            .header("content-length", "90")
            .header("x-amz-decoded-content-length", "5");
        let chunked = Creation::of(&chunked.body(()).unwrap()).unwrap();
        assert_eq!(chunked.size, Some(5));
    }
}
