//! Which methods an address has, for the `Allow` of a 405.
//!
//! The router knows this only for handlers registered as one resource. Handlers that carry their
//! own path are tried one by one, and a wrong method would end as 404; the OpenAPI document knows
//! them all.

use actix_web::dev::ResourceDef;
use utoipa::openapi::{OpenApi, PathItem};

/// Every address with its methods. The application holds it as `web::Data`.
pub struct Routes(Vec<(ResourceDef, String)>);

impl Routes {
    /// Takes path templates (`/v1/links/{id}`) with their methods.
    pub fn new<'m>(routes: impl IntoIterator<Item = (String, Vec<&'m str>)>) -> Self {
        let defs =
            routes.into_iter().map(|(path, methods)| (ResourceDef::new(path), methods.join(", ")));
        Self(defs.collect())
    }

    /// Takes the routes of an OpenAPI document.
    pub fn of(api: &OpenApi) -> Self {
        Self::new(api.paths.paths.iter().map(|(path, item)| (path.clone(), methods(item))))
    }

    /// Returns the value of `Allow` for a path, if it exists.
    pub fn allowed(&self, path: &str) -> Option<&str> {
        self.0.iter().find(|(def, _)| def.is_match(path)).map(|(_, allow)| allow.as_str())
    }
}

fn methods(item: &PathItem) -> Vec<&'static str> {
    [
        ("GET", &item.get),
        ("HEAD", &item.head),
        ("POST", &item.post),
        ("PUT", &item.put),
        ("PATCH", &item.patch),
        ("DELETE", &item.delete),
        ("OPTIONS", &item.options),
    ]
    .into_iter()
    .filter_map(|(method, operation)| operation.as_ref().map(|_| method))
    .collect()
}
