//! Who asks for a webhook: the parameter, the headers, and the layer's own answers. Whether there is
//! room is not decided here.

mod parameter;
mod prefer;
mod problem;
mod reader;

pub(crate) use self::{
    parameter::Parameter,
    prefer::{Promise, PromiseReader},
    problem::Problem,
    reader::{Ask, Reader, is_delivery},
};
