//! The host that a request names, for servers that only this computer can reach.
//!
//! A page in a browser can make the name of its own site resolve to 127.0.0.1 (DNS rebinding), and then send requests here that
//! the browser takes for requests to that site, and read the responses. Such a request names the site as its host.

use std::net::IpAddr;

use hyper::header::HOST;
use hyper::http::uri::Authority;
use hyper::{Request, StatusCode, Version};

/// What a request to another host is told.
pub const OTHER_HOST: &str =
    "The request is for another host. This server accepts 127.0.0.1, localhost and [::1] only.\n";

/// Checks that a request names this computer as its host.
///
/// # Errors
/// Returns 400 if it names none or several (RFC 9112, 3.2), and 421 if it names another one (RFC 9110, 15.5.20).
pub fn check_host<B>(request: &Request<B>) -> Result<(), StatusCode> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) if request.version() == Version::HTTP_10 => None,
        (Some(host), None) => {
            let host = host.to_str().ok().and_then(|host| host.parse().ok());
            Some(host.ok_or(StatusCode::BAD_REQUEST)?)
        }
        _ => return Err(StatusCode::BAD_REQUEST),
    };
    let is_other = |host: &Authority| host.as_str().contains('@') || !is_loopback(host.host());
    let target = request.uri().authority();
    if target.into_iter().chain(&host).any(is_other) {
        return Err(StatusCode::MISDIRECTED_REQUEST);
    }
    Ok(())
}

/// Returns whether a name or an address, without a port, is this computer's. Browsers resolve `localhost` and names that end
/// with it by themselves (RFC 6761, 6.3).
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return address.is_loopback();
    }
    let name = host.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str, version: Version, hosts: &[&str]) -> Result<(), u16> {
        let request = Request::builder().uri(uri).version(version);
        let request = hosts.iter().fold(request, |r, host| r.header(HOST, *host));
        check_host(&request.body(()).unwrap()).map_err(|status| status.as_u16())
    }

    #[test]
    fn only_names_of_this_computer_are_accepted() {
        for host in [
            "127.0.0.1:9000",
            "127.0.0.1",
            "127.9.9.9",
            "localhost:9000",
            "LocalHost",
            "bucket.localhost:9001",
            "[::1]:9000",
        ] {
            assert_eq!(check("/", Version::HTTP_11, &[host]), Ok(()), "{host}");
        }
        for host in [
            "example.com",
            "127.0.0.1.example.com",
            "localhost.example.com",
            "notlocalhost",
            "127.0.0.1@example.com",
            "example.com@127.0.0.1",
            "10.0.0.1:9000",
            "0.0.0.0",
            "[::]:9000",
            "169.254.169.254",
        ] {
            assert_eq!(check("/", Version::HTTP_11, &[host]), Err(421), "{host}");
        }
        for host in ["", "a b", "[::1", "127.0.0.1:x:y", "http://127.0.0.1/"] {
            assert_eq!(check("/", Version::HTTP_11, &[host]), Err(400), "{host:?}");
        }
    }

    #[test]
    fn a_request_has_one_host() {
        let one = "127.0.0.1";
        assert_eq!(check("/", Version::HTTP_11, &[]), Err(400));
        assert_eq!(check("/", Version::HTTP_10, &[]), Ok(()));
        assert_eq!(check("/", Version::HTTP_11, &[one, one]), Err(400));
        let absolute = |uri| check(uri, Version::HTTP_11, &[one]);
        assert_eq!(absolute("http://localhost:9000/"), Ok(()));
        assert_eq!(absolute("http://example.com/"), Err(421));
    }
}
