//! The validator's HTTP face.
use super::Validator;
use crate::{
    http::{self, Api, InternalApi, Token, internal_router},
    intake::{Intake, IntakeLimits, IntakeParts},
};
use prism_core::{Cancel, Hotkey, Result};
use std::{net::SocketAddr, sync::Arc};

impl Validator {
    /// Takes submissions in and shows boards over HTTP, in the background until cancelled; says where. Port 0 takes any free
    /// one. `own` is the validator's hotkey: it receives `btauth/1` requests and may not submit.
    ///
    /// # Errors
    /// Those of [`Validator::start`]; `Unavailable` when the address can't be had.
    pub async fn listen(
        &self,
        address: SocketAddr,
        own: Hotkey,
        limits: IntakeLimits,
        cancel: &Cancel,
    ) -> Result<SocketAddr> {
        // What the first submission needs is on record before it comes.
        self.start().await?;
        let parts = &self.0;
        let intake = Intake::new(IntakeParts {
            netuid: parts.netuid,
            chain: Arc::clone(&parts.chain),
            store: parts.store.clone(),
            artifacts: Arc::clone(&parts.artifacts),
            precheck: Arc::new(self.clone()),
            clock: Arc::clone(&parts.clock),
            validator: Some(own),
            limits,
        });
        let (store, chain, clock) = (parts.store.clone(), Arc::clone(&parts.chain), Arc::clone(&parts.clock));
        http::listen(http::router(Api { intake, store, chain, clock }), address, cancel).await
    }

    /// Answers its operator over HTTP, on an address of its own, in the background until cancelled; says where.
    ///
    /// # Errors
    /// `Unavailable` when the address can't be had.
    pub async fn listen_internal(&self, address: SocketAddr, token: Token, cancel: &Cancel) -> Result<SocketAddr> {
        let api = InternalApi { store: self.0.store.clone(), clock: Arc::clone(&self.0.clock) };
        http::listen(internal_router(api, token), address, cancel).await
    }
}
