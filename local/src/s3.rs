//! The local stack's S3: files in the data folder, served by s3s and s3s-fs, with a layer for what
//! those do differently from S3.
//!
//! An object exists completely or not at all, whenever the process is killed (not after a power
//! failure: nothing is fsynced). An upload is acknowledged after its event is stored in the queue.
//! Bodies are streamed, so memory does not grow with the size of files. Signatures, their expiry
//! and CORS are checked as on AWS.

mod body;
mod cors;
mod event;
mod files;
mod layer;
mod lifecycle;
mod multipart;
mod relay;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use mpulse_shared::setup::SetupError;
use mpulse_shared::time::Timestamp;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpRequest};
use thiserror::Error;
use tokio::net::TcpListener;

use crate::credentials::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
use crate::queue::Queue;
use crate::serve::Server;
use crate::tasks::Tasks;
use crate::template::Bucket;
use event::Announcer;
use files::Files;
use layer::Layer;
use relay::Relay;

/// The buckets are not available.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum S3Error {
    /// The folder cannot be used.
    #[error("the folder of the buckets cannot be used: {0}")]
    Io(#[from] std::io::Error),
    /// s3s-fs cannot open it.
    #[error("the folder of the buckets cannot be opened: {0}")]
    Open(String),
    /// The URL of an S3 elsewhere is not supported.
    #[error("{0:?} is not the endpoint of an S3: it must be http://HOST:PORT")]
    Endpoint(String),
    /// The client of an S3 elsewhere cannot be created.
    #[error(transparent)]
    Client(#[from] SetupError),
    /// An S3 elsewhere rejected a bucket of the template.
    #[error("bucket {bucket}: {reason}")]
    Refused {
        /// The bucket.
        bucket: String,
        /// The reason.
        reason: String,
    },
}

/// A running S3.
#[derive(Debug)]
pub(crate) struct S3 {
    server: Server,
    tasks: Arc<Tasks>,
    /// The files of the buckets; `None` if they are elsewhere.
    own: Option<(Layer, Arc<[Bucket]>)>,
}

impl S3 {
    /// Serves the buckets in `folder` on `listener`; uploads are announced in `queues` (by
    /// ARN).
    ///
    /// # Errors
    /// Returns an error if the folder cannot be used.
    pub(crate) fn start(
        listener: TcpListener,
        folder: &Path,
        buckets: &[Bucket],
        queues: BTreeMap<String, Arc<Queue>>,
    ) -> Result<Self, S3Error> {
        let files = Files::open(folder)?;
        for bucket in buckets {
            files.ensure_bucket(&bucket.name)?;
        }
        let tasks = Arc::new(Tasks::default());
        let announcer = Announcer::new(buckets, queues);
        let layer = Layer::new(files, announcer, Arc::clone(&tasks));
        let mut builder = S3ServiceBuilder::new(layer.clone());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        let service = builder.build();
        let buckets: Arc<[Bucket]> = buckets.into();
        let known = Arc::clone(&buckets);
        let server = Server::start(listener, move |request: http::Request<Incoming>, _| {
            let (service, buckets) = (service.clone(), Arc::clone(&known));
            async move { answer(&service, &buckets, request.map(Body::from)).await }
        });
        Ok(Self {
            server,
            tasks,
            own: Some((layer, buckets)),
        })
    }

    /// Returns what applies the lifecycle rules of the buckets once.
    pub(crate) fn lifecycle(&self) -> impl Fn() + Send + Sync + 'static {
        let own = self.own.clone();
        move || {
            let Some((layer, buckets)) = &own else {
                return;
            };
            match layer.apply_lifecycle(buckets, Timestamp::now()) {
                Ok(deleted) if deleted == lifecycle::Deleted::default() => {}
                Ok(deleted) => tracing::info!(
                    objects = deleted.objects,
                    uploads = deleted.uploads,
                    "lifecycle rules deleted files"
                ),
                Err(error) => tracing::warn!(%error, "lifecycle rules were not applied"),
            }
        }
    }

    /// Serves the buckets of the S3 at `endpoint` on `listener`, and creates them there; uploads are announced in
    /// `queues` (by ARN).
    ///
    /// # Errors
    /// Returns an error if a bucket cannot be created.
    pub(crate) async fn elsewhere(
        listener: TcpListener,
        endpoint: &str,
        buckets: &[Bucket],
        queues: BTreeMap<String, Arc<Queue>>,
    ) -> Result<Self, S3Error> {
        let tasks = Arc::new(Tasks::default());
        let announcer = Announcer::new(buckets, queues);
        let relay = Relay::start(endpoint, buckets, announcer, Arc::clone(&tasks)).await?;
        let relay = Arc::new(relay);
        let server = Server::start_or_hang_up(listener, move |request, _| {
            Arc::clone(&relay).answer(request)
        });
        Ok(Self {
            server,
            tasks,
            own: None,
        })
    }

    /// Stops serving; incomplete uploads are lost.
    pub(crate) async fn stop(self) {
        self.server.stop().await;
        self.tasks.stop().await;
    }
}

/// Handles CORS, and the one rule of signatures that s3s handles
/// differently.
async fn answer(service: &S3Service, buckets: &[Bucket], request: HttpRequest) -> Response<Body> {
    let caller = cors::Caller::of(&request, buckets);
    if request.method() == Method::OPTIONS {
        return caller.preflight();
    }
    let presigned = request.uri().query().is_some_and(|query| {
        query
            .split('&')
            .any(|pair| pair.starts_with("X-Amz-Signature="))
    });
    let mut response = if presigned && request.headers().contains_key(AUTHORIZATION) {
        error(
            StatusCode::BAD_REQUEST,
            "InvalidArgument",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, \
             Signature query string parameter or the Authorization header should be specified",
        )
    } else {
        service.call(request).await.unwrap_or_else(|error_| {
            tracing::error!(error = ?error_, "S3 returned no response");
            error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                "We encountered an internal error. Please try again.",
            )
        })
    };
    caller.add_headers(response.headers_mut());
    response
}

/// Returns an error response in S3's format.
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let mut response = Response::new(Body::from(xml));
    *response.status_mut() = status;
    let xml = http::HeaderValue::from_static("application/xml");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, xml);
    response
}

#[cfg(test)]
mod tests;
