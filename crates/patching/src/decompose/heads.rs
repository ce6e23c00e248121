//! What each head wrote, as a matrix of layers and heads.

use ndarray::Array2;
use refrain_runner::Prompt;

use crate::decompose::stack::ResidualStack;
use crate::error::{Error, Result};

/// What each head added to the stream at one position.
#[derive(Debug)]
pub struct HeadResults<'r>(ResidualStack<'r>);

impl<'r> HeadResults<'r> {
    /// `stack` holds every head at one position.
    pub(super) fn new(stack: ResidualStack<'r>) -> Self {
        HeadResults(stack)
    }

    /// The same as a stack, `[layer * heads + head, 1, d_model]`.
    pub fn stack(&self) -> &ResidualStack<'r> {
        &self.0
    }

    /// What each head writes into the logit of `answer` less that of `incorrect`: `[layer, head]`. See
    /// [`ResidualStack::logit_attrs`].
    ///
    /// # Errors
    /// As [`ResidualStack::logit_attrs`].
    pub fn logit_attrs<'t>(
        &self,
        answer: impl Into<Prompt<'t>>,
        incorrect: impl Into<Prompt<'t>>,
    ) -> Result<Array2<f64>> {
        self.by_layer(self.0.logit_attrs(answer, incorrect)?)
    }

    /// What each head writes into the logit of `token` alone: `[layer, head]`.
    ///
    /// # Errors
    /// As [`ResidualStack::logit_attrs`].
    pub fn logit_attrs_of<'t>(&self, token: impl Into<Prompt<'t>>) -> Result<Array2<f64>> {
        self.by_layer(self.0.logit_attrs_of(token)?)
    }

    fn by_layer(&self, attributed: Array2<f64>) -> Result<Array2<f64>> {
        let arch = self.0.model().architecture();
        attributed
            .into_shape_with_order((arch.n_layers, arch.n_heads))
            .map_err(|error| Error::Input(error.to_string()))
    }
}
