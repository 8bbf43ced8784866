//! Which media type a client prefers (RFC 9110, 12.5.1).

use lambda_http::Request;
use lambda_http::http::header::ACCEPT;

/// The default media type of responses.
const JSON: &str = "application/json";

/// How well a media type fits a header: its quality in thousandths, then how specific the range is that it matches.
type Fit = (u16, u8);

/// Returns whether the client prefers a media type to JSON. If both fit equally well, it does not.
#[must_use]
pub fn prefers(request: &Request, media_type: &str) -> bool {
    let headers = request.headers().get_all(ACCEPT).into_iter();
    let ranges: Vec<&str> = headers
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    let fit = fit(&ranges, media_type);
    fit.0 > 0 && fit > self::fit(&ranges, JSON)
}

/// Returns how well a media type fits: the most specific range that it matches decides.
fn fit(ranges: &[&str], media_type: &str) -> Fit {
    let (kind, _) = media_type.split_once('/').unwrap_or_default();
    let fits = ranges.iter().filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next()?.to_ascii_lowercase();
        let specific = match name.as_str() {
            "*/*" => 1,
            _ if name.strip_suffix("/*") == Some(kind) => 2,
            _ if name == media_type => 3,
            _ => return None,
        };
        let quality = parts
            .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .map_or(Some(1000), thousandths);
        Some((quality?, specific))
    });
    fits.max_by_key(|(_, specific)| *specific)
        .unwrap_or_default()
}

/// Returns a quality from 0 to 1 in thousandths; `None` if it is not one.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_valid = matches!(whole, "0" | "1") && decimals.len() <= 3;
    let value: u16 = format!("{whole}{decimals:0<3}").parse().ok()?;
    Some(value).filter(|value| is_valid && *value <= 1000)
}

#[cfg(test)]
mod tests {
    use lambda_http::Body;
    use lambda_http::http::Request;

    use super::*;

    #[test]
    fn the_client_decides_by_quality_and_precision() {
        for (accept, csv) in [
            ("text/csv", true),
            ("TEXT/CSV; charset=utf-8", true),
            ("text/csv, */*", true),
            ("text/csv, application/json;q=0.9", true),
            ("text/*", true),
            ("text/csv, application/json", false),
            ("text/csv;q=0.5, application/json", false),
            ("text/csv;q=0", false),
            ("text/csv;q=2", false),
            ("application/json", false),
            ("text/html,application/xhtml+xml,*/*;q=0.8", false),
            ("*/*", false),
        ] {
            let request = Request::builder().header(ACCEPT, accept);
            let request = request.body(Body::Empty).unwrap();
            assert_eq!(prefers(&request, "text/csv"), csv, "{accept}");
        }
        assert!(!prefers(&Request::new(Body::Empty), "text/csv"));
    }
}
