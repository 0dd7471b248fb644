//! What is done beside the requests: uploads expire, garbage is collected.

use std::sync::Arc;
use std::time::Duration;

use crate::Settings;
use crate::metrics::Metrics;
use crate::store::{Kept, Rules, Store};

/// How often uploads are looked at, at least.
const LOOK: Duration = Duration::from_secs(60);

/// Looks after `store` until it is dropped.
pub(crate) async fn keep(store: Arc<Store>, metrics: Arc<Metrics>, settings: Settings, cached: Kept) {
    let rules = Rules { untagged: settings.untagged, cached };
    let mut collected = tokio::time::Instant::now();
    loop {
        tokio::time::sleep(LOOK.min(settings.collect_every).min(settings.upload_expiry)).await;
        let due = collected.elapsed() >= settings.collect_every;
        if due {
            collected = tokio::time::Instant::now();
        }
        let (store, metrics, expiry) = (store.clone(), metrics.clone(), settings.upload_expiry);
        let done = tokio::task::spawn_blocking(move || {
            let expired = store.expire_uploads(expiry)?;
            metrics.expired(expired);
            if expired > 0 {
                tracing::info!(expired, "old uploads were removed");
            }
            let collected = due.then(|| store.collect(rules)).transpose()?;
            collected.iter().for_each(|collected| metrics.collected(collected));
            Ok::<_, crate::store::Error>(collected)
        });
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
    }
}
