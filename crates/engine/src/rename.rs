//! `rename`: a container gets another name, in whatever state it is.

use crate::create::parse_name;
use crate::{Engine, Error, Result};

impl Engine {
    /// Gives the container `name` stands for the name `new`. Its monitor learns of it, for the events to come.
    pub fn rename(&self, name: &str, new: &str) -> Result<()> {
        if name.is_empty() || new.trim_start_matches('/').is_empty() {
            return Err(Error::EmptyName);
        }
        let wanted = parse_name(new)?;
        let found = self.container(name)?;
        let id = found.id().clone();
        let old = match self.state().rename_container(&id, &wanted)? {
            Some(old) if old == wanted => return Err(Error::SameName),
            Some(old) => old,
            None => return Err(Error::NoSuchContainer { name: name.to_owned() }),
        };
        if found.state.status.is_running() || self.is_starting(&found)? {
            // One that ends meanwhile, or is only about to listen, tells its events under the old name.
            let told = self.connect(&found).map(|mut connection| connection.rename(wanted.as_str()));
            if let Err(error) = told {
                tracing::debug!(container = %id, %error, "its monitor does not know its new name");
            }
        }
        let old = format!("/{old}");
        self.container_event_with("rename", &id, wanted.as_str(), &found.spec, &[("oldName", &old)]);
        Ok(())
    }
}
