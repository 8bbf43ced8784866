//! Selects the function of a request, in API Gateway's order: of the matching routes, a literal
//! segment before a parameter, a parameter before a greedy one, a specific method before any, and
//! `$default` last. A trailing slash makes a different path.

use std::time::Duration;

use http::Method;

use crate::template::Function;

/// The target of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The function's name.
    pub(super) function: String,
    /// The route as in the template: `GET /members/{id}`, `$default`.
    pub(super) route_key: String,
    /// How long the gateway waits.
    pub(super) timeout: Duration,
}

/// A matching route, with the values of its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub(super) target: &'a Target,
    pub(super) parameters: Vec<(String, String)>,
}

/// The routes of an API, in the order of matching.
#[derive(Debug)]
pub(super) struct Routes {
    routes: Vec<Route>,
    default: Option<Target>,
}

#[derive(Debug)]
struct Route {
    method: Option<String>,
    path: Vec<Segment>,
    target: Target,
}

/// In this order, from specific to general.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(String),
    Parameter(String),
    Greedy(String),
}

impl Segment {
    fn parse(text: &str) -> Self {
        match text
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
        {
            Some(name) => match name.strip_suffix('+') {
                Some(name) => Self::Greedy(name.to_owned()),
                None => Self::Parameter(name.to_owned()),
            },
            None => Self::Literal(text.to_owned()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::Parameter(_) => 1,
            Self::Greedy(_) => 2,
        }
    }
}

impl Routes {
    /// Creates the routes of these functions.
    pub(super) fn new(functions: &[Function]) -> Self {
        let (mut routes, mut default) = (Vec::new(), None);
        for function in functions {
            for route in &function.routes {
                let method = route.method.as_deref().unwrap_or("ANY");
                let target = |route_key| Target {
                    function: function.name.clone(),
                    route_key,
                    timeout: route.timeout,
                };
                match &route.path {
                    Some(path) => routes.push(Route {
                        method: route.method.clone(),
                        path: segments(path).map(Segment::parse).collect(),
                        target: target(format!("{method} {path}")),
                    }),
                    None => default = Some(target("$default".to_owned())),
                }
            }
        }
        routes.sort_by_key(|route| {
            let ranks: Vec<u8> = route.path.iter().map(Segment::rank).collect();
            (ranks, route.method.is_none())
        });
        Self { routes, default }
    }

    /// Returns the route of a request; `path` is decoded.
    pub(super) fn find(&self, method: &Method, path: &str) -> Option<Found<'_>> {
        let wanted: Vec<&str> = segments(path).collect();
        let mut fitting = self.routes.iter().filter_map(|route| {
            let methods_fit = route.method.as_deref().is_none_or(|m| m == method.as_str());
            let parameters = methods_fit.then(|| fit(&route.path, &wanted))??;
            Some(Found {
                target: &route.target,
                parameters,
            })
        });
        fitting.next().or_else(|| {
            self.default.as_ref().map(|target| Found {
                target,
                parameters: Vec::new(),
            })
        })
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

fn fit(route: &[Segment], path: &[&str]) -> Option<Vec<(String, String)>> {
    let mut parameters = Vec::new();
    let mut rest = path;
    for segment in route {
        let (first, others) = rest.split_first()?;
        match segment {
            Segment::Literal(text) if text == first => {}
            Segment::Parameter(name) if !first.is_empty() => {
                parameters.push((name.clone(), (*first).to_owned()));
            }
            Segment::Greedy(name) if !rest.concat().is_empty() => {
                parameters.push((name.clone(), rest.join("/")));
                return Some(parameters);
            }
            _ => return None,
        }
        rest = others;
    }
    rest.is_empty().then_some(parameters)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::template;

    fn routes(declared: &[(&str, &str)]) -> Routes {
        let functions: Vec<Function> = declared
            .iter()
            .map(|(method, path)| Function {
                logical_id: String::new(),
                name: format!("{method} {path}"),
                binary: String::new(),
                timeout: Duration::ZERO,
                memory: 128,
                environment: BTreeMap::new(),
                routes: vec![template::Route {
                    method: (*method != "ANY").then(|| (*method).to_owned()),
                    path: (*path != "$default").then(|| (*path).to_owned()),
                    timeout: Duration::ZERO,
                }],
                queues: Vec::new(),
            })
            .collect();
        Routes::new(&functions)
    }

    #[test]
    fn the_most_specific_route_wins() {
        let routes = routes(&[
            ("ANY", "$default"),
            ("ANY", "/{proxy+}"),
            ("GET", "/pets/{proxy+}"),
            ("GET", "/pets/dog/{id}"),
            ("ANY", "/pets/dog/1"),
            ("GET", "/pets/dog/1"),
            ("GET", "/slash/"),
        ]);
        let cases = [
            (Method::GET, "/pets/dog/1", "GET /pets/dog/1", ""),
            (Method::PUT, "/pets/dog/1", "ANY /pets/dog/1", ""),
            (Method::GET, "/pets/dog/2", "GET /pets/dog/{id}", "2"),
            (
                Method::GET,
                "/pets/cat/1/x",
                "GET /pets/{proxy+}",
                "cat/1/x",
            ),
            (Method::POST, "/pets/cat/1", "ANY /{proxy+}", "pets/cat/1"),
            (Method::GET, "/slash/", "GET /slash/", ""),
            (Method::GET, "/slash", "ANY /{proxy+}", "slash"),
            (Method::GET, "/", "ANY $default", ""),
        ];
        for (method, path, expected, parameter) in cases {
            let found = routes.find(&method, path).expect("a route");
            assert_eq!(found.target.function, expected, "{method} {path}");
            let value = found.parameters.first().map_or("", |(_, value)| value);
            assert_eq!(value, parameter, "{method} {path}");
        }
    }

    #[test]
    fn without_a_default_there_may_be_no_route() {
        let routes = routes(&[("GET", "/"), ("GET", "/a/{id}")]);
        assert!(routes.find(&Method::GET, "/").is_some());
        assert_eq!(routes.find(&Method::POST, "/"), None);
        assert_eq!(routes.find(&Method::GET, "/a/"), None);
        assert_eq!(routes.find(&Method::GET, "/a/b/"), None);
    }
}
