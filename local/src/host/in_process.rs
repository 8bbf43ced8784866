//! Functions in this process: the crate named like the template's binary, called through JSON
//! exactly as the Lambda runtime calls it.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use lambda_http::Adapter;
use lambda_http::request::LambdaRequest;
use lambda_runtime::{Config, Context, LambdaEvent};
use mpulse_shared::http::Service as HttpService;
use mpulse_shared::setup::{Setup, SetupError};
use serde::Serialize;
use serde_json::Value;
use tower::{Service, ServiceExt};

use super::{HostError, InvokeError, read_answer};
use crate::clock::millis;
use crate::template::{ACCOUNT_ID, Function, PARTITION, REGION};
use crate::uuid::uuid;

/// A function of this workspace, ready to run.
#[derive(Clone)]
pub(super) struct Program {
    service: Kind,
    config: Arc<Config>,
}

/// The type of events that a function handles.
#[derive(Clone)]
enum Kind {
    /// HTTP requests, through `lambda_http`.
    Http(HttpService),
    /// Any event.
    Event(ingest::Service),
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("function", &self.config.function_name)
            .finish_non_exhaustive()
    }
}

impl Program {
    /// Creates the function with its settings.
    pub(super) fn start(function: &Function, setup: &Setup) -> Result<Self, HostError> {
        let service = service(&function.binary, setup)
            .ok_or_else(|| HostError::UnknownBinary {
                function: function.logical_id.clone(),
                binary: function.binary.clone(),
            })?
            .map_err(|source| HostError::Setup {
                function: function.logical_id.clone(),
                source,
            })?;
        let config = Arc::new(Config {
            function_name: function.name.clone(),
            memory: i32::try_from(function.memory).unwrap_or(i32::MAX),
            version: "$LATEST".to_owned(),
            log_stream: String::new(),
            log_group: String::new(),
        });
        Ok(Self { service, config })
    }

    /// Runs it once.
    pub(super) fn run(
        self,
        event: &str,
        deadline: SystemTime,
    ) -> BoxFuture<'static, Result<Value, InvokeError>> {
        let context = self.context(deadline);
        match self.service {
            Kind::Http(service) => match read::<LambdaRequest>(event) {
                Ok(request) => {
                    let service: Adapter<'static, _, _> = Adapter::from(service);
                    call(service, LambdaEvent::new(request, context))
                }
                Err(error) => ready(error),
            },
            Kind::Event(service) => match read::<Value>(event) {
                Ok(event) => call(service, LambdaEvent::new(event, context)),
                Err(error) => ready(error),
            },
        }
    }

    fn context(&self, deadline: SystemTime) -> Context {
        let deadline = deadline.duration_since(SystemTime::UNIX_EPOCH);
        let mut context = Context::default();
        context.request_id = uuid();
        context.deadline = millis(deadline.unwrap_or_default());
        context.invoked_function_arn = format!(
            "arn:{PARTITION}:lambda:{REGION}:{ACCOUNT_ID}:function:{}",
            self.config.function_name
        );
        context.env_config = Arc::clone(&self.config);
        context
    }
}

/// The list of all functions that can run in this process.
fn service(binary: &str, setup: &Setup) -> Option<Result<Kind, SetupError>> {
    Some(match binary {
        "batch-template" => batch_template::service(setup).map(Kind::Http),
        "cancel-batch" => cancel_batch::service(setup).map(Kind::Http),
        "complete-upload" => complete_upload::service(setup).map(Kind::Http),
        "console" => console::service(setup).map(Kind::Http),
        "contract" => contract::service(setup).map(Kind::Http),
        "create-batch" => create_batch::service(setup).map(Kind::Http),
        "create-export" => create_export::service(setup).map(Kind::Http),
        "create-key" => create_key::service(setup).map(Kind::Http),
        "create-member" => create_member::service(setup).map(Kind::Http),
        "default-route" => default_route::service(setup).map(Kind::Http),
        "delete-member" => delete_member::service(setup).map(Kind::Http),
        "delete-person" => delete_person::service(setup).map(Kind::Http),
        "derive-batch" => derive_batch::service(setup).map(Kind::Http),
        "erase-account" => erase_account::service(setup).map(Kind::Http),
        "export" => export::service(setup).map(Kind::Event),
        "get-batch" => get_batch::service(setup).map(Kind::Http),
        "get-export" => get_export::service(setup).map(Kind::Http),
        "get-member" => get_member::service(setup).map(Kind::Http),
        "get-person" => get_person::service(setup).map(Kind::Http),
        "get-report" => get_report::service(setup).map(Kind::Http),
        "health" => health::service(setup).map(Kind::Http),
        "ingest" => ingest::service(setup).map(Kind::Event),
        "list-batches" => list_batches::service(setup).map(Kind::Http),
        "list-exports" => list_exports::service(setup).map(Kind::Http),
        "get-key" => get_key::service(setup).map(Kind::Http),
        "list-keys" => list_keys::service(setup).map(Kind::Http),
        "list-members" => list_members::service(setup).map(Kind::Http),
        "list-parts" => list_parts::service(setup).map(Kind::Http),
        "revoke-key" => revoke_key::service(setup).map(Kind::Http),
        "update-member" => update_member::service(setup).map(Kind::Http),
        _ => return None,
    })
}

fn call<S, E>(service: S, event: LambdaEvent<E>) -> BoxFuture<'static, Result<Value, InvokeError>>
where
    S: Service<LambdaEvent<E>, Error = lambda_runtime::Error> + Send + 'static,
    S::Response: Serialize + Send,
    S::Future: Send,
    E: Send + 'static,
{
    Box::pin(async move {
        let answer = service.oneshot(event).await.map_err(failed)?;
        read_answer(&serde_json::to_vec(&answer).map_err(failed)?)
    })
}

fn ready(error: InvokeError) -> BoxFuture<'static, Result<Value, InvokeError>> {
    Box::pin(std::future::ready(Err(error)))
}

fn read<T: serde::de::DeserializeOwned>(event: &str) -> Result<T, InvokeError> {
    serde_json::from_str(event).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> InvokeError {
    InvokeError::Failed(error.to_string())
}
