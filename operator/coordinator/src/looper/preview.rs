//! What a document would do to the layout, from Garage's own preview: staged, previewed and reverted on the one member,
//! under the same record as a change, so that a crash between leaves nothing that is not mended.

use hayloft_api::Document;
use hayloft_api::status::Preview;
use hayloft_engine::{Staged, Step, plan, preview, validate};
use hayloft_garage::admin::{self, AdminError, ZoneRedundancy};

use super::Loop;
use crate::act::layout::{forecast, role_changes, with_bytes_of_now};
use crate::store::Attempt;
use crate::tell::chain;
use crate::words::WordError;

impl Loop {
    pub(super) async fn preview(&mut self, document: &Document) -> Result<Option<Box<Preview>>, WordError> {
        let no = |why: String| WordError::NoPreview(why);
        let snapshot = self.snapshot.borrow().clone();
        let input = validate(document, &snapshot).map_err(|invalid| no(invalid.to_string()))?;
        let planned = plan(&input)
            .steps
            .into_iter()
            .find_map(|planned| match planned.step {
                Step::ChangeLayout {
                    through,
                    version,
                    roles,
                    zone_redundancy,
                } => {
                    let change = Staged {
                        roles,
                        zone_redundancy: zone_redundancy.map(Some),
                    };
                    Some((through, version, change))
                }
                _ => None,
            });
        let Some((through, version, change)) = planned else {
            return Ok(None);
        };
        if !self.leadership.leads() {
            return Err(no("this coordinator does not lead".to_owned()));
        }
        let Some(cluster) = &snapshot.cluster else {
            return Err(no("no member of Garage answers".to_owned()));
        };
        if self.memory.attempt.is_some() || !cluster.layout.staged.is_empty() {
            return Err(no("another change of the layout is being made".to_owned()));
        }
        let token = self.store.secrets().admin_token;
        let has_role = self.memory.has_role(&through);
        let client = match self.memory.client(&through, &token, has_role) {
            Some(Ok(client)) => client,
            Some(Err(error)) => return Err(no(chain(&error))),
            None => return Err(no(format!("{through} is gone"))),
        };
        let attempt = Attempt {
            through,
            version,
            staged: change.clone(),
            at: (self.clock)().as_second(),
            sent: false,
        };
        self.store
            .put_attempt(Some(&attempt))
            .await
            .map_err(WordError::Store)?;
        self.memory.attempt = Some(attempt);
        let looked = async {
            let redundancy = change.zone_redundancy.flatten().map(ZoneRedundancy::AtLeast);
            let layout = client.stage(&role_changes(&change), redundancy).await?;
            let ours = crate::observe::staged(&layout).is_within(&change);
            let seen = if ours { Some(client.preview().await?) } else { None };
            Ok::<_, AdminError>(seen)
        };
        let looked = looked.await;
        // Reverted whatever came of it; when that fails, the next round does it.
        let reverted = client.revert().await;
        if reverted.is_ok() {
            self.store.put_attempt(None).await.map_err(WordError::Store)?;
            self.memory.attempt = None;
        }
        match looked.map_err(|error| no(chain(&error)))? {
            None => Err(no("somebody else is staging layout changes".to_owned())),
            Some(admin::Preview::Impossible { error }) => {
                Err(no(format!("Garage cannot compute it: {error}")))
            }
            Some(admin::Preview::Possible(outlook)) => {
                let forecast = forecast(&outlook).ok_or_else(|| no("Garage tells no numbers".to_owned()))?;
                let map = self.memory.moves.placed_map(cluster.layout.version);
                let snapshot = with_bytes_of_now(&snapshot, &client).await;
                let preview = preview(document, &snapshot, version, &change, &forecast, map);
                Ok(Some(Box::new(preview)))
            }
        }
    }
}
