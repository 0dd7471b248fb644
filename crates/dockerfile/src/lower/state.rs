//! A stage as it is after some of its instructions: what the next one sees, and what becomes an image in the end.

use oci::ImageConfig;

use super::history::Steps;
use super::scan::{Asked, Scanned};
use super::{Inputs, Made, config};
use crate::expand::Environment;
use crate::source::{Diagnostic, Result};

/// The most layers of an image, those of its base included, as whoever mounts it has it.
const LAYER_LIMIT: usize = 1000;

/// A stage as it is after some of its instructions.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) node: usize,
    /// The config, but for history and variables, which are apart and shared with other stages.
    pub(super) image: ImageConfig,
    pub(super) steps: Steps,
    /// The variables of the image.
    pub(super) own_env: Environment,
    layers: Vec<usize>,
    /// What instructions see: of ENV and of ARG, whichever came last.
    pub(super) env: Environment,
    /// ARGs declared so far, for the history; without values.
    pub(super) arguments: Environment,
    /// ARGs that this stage has given a value, before which those of ENV come in a stage that is based on it.
    pub(super) given: Vec<String>,
    /// Of which files packages are to be listed, as far as this stage says.
    pub(super) scans: Asked,
    /// Whether a WORKDIR has been given in this file.
    pub(super) workdir_given: bool,
    /// Whether a CMD has been given in this stage, which no ENTRYPOINT takes back.
    pub(super) cmd_given: bool,
}

impl State {
    /// A stage that begins with what a node makes, and with the config that comes with it.
    pub(super) fn upon(node: usize, mut image: ImageConfig) -> State {
        image.created = None;
        image.config.on_build.clear();
        let mut env = Environment::from_strings(image.config.env.iter().map(String::as_str));
        if !env.contains("PATH") && image.platform.os != "windows" {
            env.set("PATH", config::DEFAULT_PATH);
        }
        let steps = Steps::after(std::mem::take(&mut image.history));
        State {
            node,
            image,
            steps,
            own_env: env.clone(),
            layers: Vec::new(),
            env,
            arguments: Environment::default(),
            given: Vec::new(),
            scans: Asked::default(),
            workdir_given: false,
            cmd_given: false,
        }
    }

    /// A stage that begins where this one ends.
    pub(super) fn continued(mut self) -> State {
        // Triggers are for the first stage after theirs.
        self.image.config.on_build.clear();
        self.cmd_given = false;
        self.scans = Asked::default();
        for name in std::mem::take(&mut self.given) {
            if let Some(value) = self.own_env.get(&name) {
                self.env.set(name, value);
            }
        }
        self
    }

    /// The image that it is at its end.
    pub(super) fn finish(mut self, inputs: &Inputs<'_>) -> Made {
        let platform = &inputs.options.platform;
        let same = self.image.platform.os == platform.os
            && self.image.platform.architecture == platform.architecture;
        self.image.platform.os.clone_from(&platform.os);
        self.image.platform.architecture.clone_from(&platform.architecture);
        if !same || !platform.variant.is_empty() {
            self.image.platform.variant.clone_from(&platform.variant);
        }
        self.image.history = self.steps.to_vec();
        self.image.config.env = self.own_env.to_strings();
        let scanned = Scanned::default();
        Made { node: self.node, config: self.image, layers: self.layers, scanned }
    }

    /// What an instruction has made of the files.
    pub(super) fn layer(&mut self, node: usize) -> Result<()> {
        self.node = node;
        self.layers.push(node);
        if self.image.rootfs.diff_ids.len() + self.layers.len() > LAYER_LIMIT {
            let message = format!("the image would have more than {LAYER_LIMIT} layers");
            return Err(Diagnostic::error(message, None));
        }
        Ok(())
    }

    /// The working directory, `/` if none is set.
    pub(super) fn cwd(&self) -> &str {
        match self.image.config.working_dir.as_str() {
            "" => "/",
            path => path,
        }
    }
}
