//! Typed registration: a method of the table and its handler, with everything that is the same for all —
//! scope, parameters, panics — done once.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Extensions;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::types::{ErrorObjectOwned, Params};
use jsonrpsee::{Methods, RpcModule};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::Context;
use super::error::internal;
use super::peer::{Attachment, Peer};
use crate::api::{ErrorKind, Method, RpcError};

/// What a handler gets.
#[derive(Debug)]
pub struct Request<M: Method> {
    /// The parameters, checked against the method's type.
    pub params: M::Params,
    /// The connection.
    pub peer: Arc<Peer>,
    /// Everything the methods share.
    pub context: Arc<Context>,
    effects: Arc<Effects>,
}

impl<M: Method> Request<M> {
    /// Hands a reader to the connection's writer, together with this call's answer.
    pub fn attach(&self, attachment: Attachment) {
        self.effects.attachments.lock().push(attachment);
    }

    /// Lets the answer be larger than answers may be: it can't be asked for in smaller parts.
    pub fn answer_whole(&self) {
        self.effects.whole.store(true, Ordering::Relaxed);
    }
}

/// What a call does to its connection besides its answer.
#[derive(Debug, Default)]
pub struct Effects {
    attachments: Mutex<Vec<Attachment>>,
    whole: AtomicBool,
}

impl Effects {
    /// The attachments to serve once the answer has been sent.
    #[must_use]
    pub fn take(&self) -> Vec<Attachment> {
        std::mem::take(&mut *self.attachments.lock())
    }

    /// May the answer be larger than answers may be?
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Relaxed)
    }
}

/// Collects the methods.
#[derive(Debug)]
pub struct Registrar {
    module: RpcModule<Context>,
}

impl Registrar {
    /// Nothing registered yet.
    #[must_use]
    pub fn new(context: Context) -> Self {
        Self { module: RpcModule::new(context) }
    }

    /// Registers the handler of `M`. The handler's result must serialise as `M::Result` does.
    ///
    /// # Errors
    /// When a method is registered twice.
    pub fn on<M, H, F, R>(&mut self, handler: H) -> Result<(), RegisterMethodError>
    where
        M: Method,
        H: Fn(Request<M>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<R, RpcError>> + Send,
        R: Serialize,
    {
        self.module.register_async_method(M::NAME, move |params, context, extensions| {
            let handler = handler.clone();
            async move {
                let request = prepare::<M>(&params, context, &extensions).map_err(into_object)?;
                // Only the parse happens before; from here on the params are owned.
                drop(params);
                match handler(request).await {
                    Ok(result) => to_raw_value(&result).map_err(|error| {
                        tracing::error!(method = M::NAME, %error, "a result could not be encoded");
                        into_object(internal())
                    }),
                    Err(error) => Err(into_object(error)),
                }
            }
        })?;
        Ok(())
    }

    /// The method table, complete.
    #[must_use]
    pub fn finish(self) -> Methods {
        self.module.into()
    }
}

fn prepare<M: Method>(
    params: &Params<'_>,
    context: Arc<Context>,
    extensions: &Extensions,
) -> Result<Request<M>, RpcError> {
    let (Some(peer), Some(effects)) = (extensions.get::<Arc<Peer>>(), extensions.get::<Arc<Effects>>()) else {
        return Err(internal());
    };
    if let Some(scope) = M::SCOPE
        && !peer.principal.has(scope)
    {
        let text = format!("this method needs the scope `{}`", serde_plain(&scope));
        return Err(RpcError::new(ErrorKind::Unauthorised, text));
    }
    let params = parse_params::<M::Params>(params.as_str())?;
    Ok(Request { params, peer: Arc::clone(peer), context, effects: Arc::clone(effects) })
}

/// The parameters as their type, or which of them is wrong.
fn parse_params<T: serde::de::DeserializeOwned>(text: Option<&str>) -> Result<T, RpcError> {
    let text = text.unwrap_or("{}");
    if text.trim_ascii_start().starts_with('[') {
        return Err(RpcError::new(ErrorKind::InvalidParams, "`params` must be an object: parameters go by name"));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner().to_string();
        // serde_json ends its texts with a position inside the params, which says less than the name.
        let cause = cause.split(" at line ").next().unwrap_or_default();
        let text = if path == "." { cause.to_owned() } else { format!("`{path}`: {cause}") };
        RpcError::new(ErrorKind::InvalidParams, text)
    })
}

fn serde_plain<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn into_object(error: RpcError) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(error.code, error.message, error.data)
}

/// The result type of the callbacks, as jsonrpsee sees it.
pub type Raw = Box<RawValue>;
