//! What is done beside the requests: uploads expire, garbage is collected.

use std::sync::Arc;
use std::time::Duration;

use crate::Settings;
use crate::cache::Cache;
use crate::metrics::Metrics;
use crate::store::{Rules, Store};

/// How often uploads are looked at, at least.
const LOOK: Duration = Duration::from_secs(60);

/// Looks after `store` until it is dropped.
pub(crate) async fn keep(store: Arc<Store>, metrics: Arc<Metrics>, settings: Settings, cache: Arc<Cache>) {
    let mut collected = tokio::time::Instant::now();
    let mut is_counted = false;
    loop {
        let due = collected.elapsed() >= settings.collect_every;
        if due {
            collected = tokio::time::Instant::now();
        }
        let (store, metrics, kept) = (store.clone(), metrics.clone(), cache.clone());
        let (expiry, untagged) = (settings.upload_expiry, settings.untagged);
        let done = tokio::task::spawn_blocking(move || {
            let expired = store.expire_uploads(expiry)?;
            metrics.expired(expired);
            if expired > 0 {
                tracing::info!(expired, "old uploads were removed");
            }
            if !is_counted {
                kept.recount()?;
            }
            let collected = match kept.excess_over() {
                _ if due => Some(store.collect(Rules { untagged, cached: kept.rules().kept })?),
                Some(most) => Some(store.make_room(most)?),
                None => None,
            };
            if let Some(collected) = &collected {
                metrics.collected(collected);
                kept.recount()?;
            }
            Ok::<_, crate::store::Error>(collected)
        });
        is_counted = true;
        match done.await {
            Ok(Ok(Some(collected))) if collected != crate::store::Collected::default() => {
                tracing::info!(
                    manifests = collected.manifests,
                    links = collected.links,
                    blobs = collected.blobs,
                    bytes = collected.bytes,
                    strays = collected.strays,
                    "garbage was collected"
                );
            }
            Ok(Ok(_)) => {}
            // The next round tries again.
            Ok(Err(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "garbage was not collected")
            }
            Err(error) => tracing::error!(%error, "garbage was not collected"),
        }
        let round = tokio::time::sleep(LOOK.min(settings.collect_every).min(settings.upload_expiry));
        tokio::select! {
            () = round => {}
            () = cache.crowded() => {}
        }
    }
}
