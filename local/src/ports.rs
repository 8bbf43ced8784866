//! The ports of a local stack: the API, S3, DynamoDB and EventBridge.

use std::io;
use std::net::Ipv4Addr;

use tokio::net::TcpListener;

use crate::addresses::{DYNAMODB_OFFSET, EVENTS_OFFSET, Endpoints, S3_OFFSET, url};
use crate::error::LocalStackError;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) api: u16,
    pub(crate) s3: u16,
    pub(crate) dynamodb: u16,
    pub(crate) events: u16,
}

impl Ports {
    pub(crate) fn endpoints(self) -> Endpoints {
        Endpoints {
            dynamodb: url(self.dynamodb),
            s3: url(self.s3),
            events: url(self.events),
        }
    }
}

/// Opens the ports: consecutive ones, or any free ones.
pub(crate) async fn listen(port: u16) -> Result<(Ports, [TcpListener; 4]), LocalStackError> {
    let api = bind(port, 0, "the API").await?;
    let s3 = bind(port, S3_OFFSET, "S3").await?;
    let dynamodb = bind(port, DYNAMODB_OFFSET, "DynamoDB").await?;
    let events = bind(port, EVENTS_OFFSET, "EventBridge").await?;
    let ports = Ports {
        api: api.1,
        s3: s3.1,
        dynamodb: dynamodb.1,
        events: events.1,
    };
    Ok((ports, [api.0, s3.0, dynamodb.0, events.0]))
}

pub(crate) async fn bind(
    port: u16,
    offset: u16,
    purpose: &'static str,
) -> Result<(TcpListener, u16), LocalStackError> {
    let failed = |source| LocalStackError::Port {
        port: u32::from(port) + u32::from(offset),
        purpose,
        source,
    };
    let own = match port {
        0 => Some(0),
        port => port.checked_add(offset),
    };
    let own = own.ok_or_else(|| failed(io::ErrorKind::AddrNotAvailable.into()))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, own))
        .await
        .map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?.port();
    Ok((listener, bound))
}
