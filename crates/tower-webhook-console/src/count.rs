use tower_webhook::{
    BoxError, Dispatcher,
    outbox::{DeliveryFilter, Page},
};

/// What is asked for at once.
const STEP: usize = 1_000;

/// How many the filter lets through, of more than this some number above it.
///
/// It ends with an empty page: on any other one a row may be missing that cannot be read.
pub(crate) async fn up_to(
    most: usize,
    dispatcher: &Dispatcher,
    filter: &DeliveryFilter,
) -> Result<usize, BoxError> {
    let (mut number, mut page) = (0, Page::first(STEP.min(most + 1)));
    while number <= most {
        let records = dispatcher.deliveries(filter, page).await?;
        let Some(last) = records.last() else { break };
        page = page.after(last.id);
        number += records.len();
    }
    Ok(number)
}
