//! What the page reads.

use serde_json::{Value, json};
use tower_webhook::{Dispatcher, outbox::Page};

use crate::{ConsoleEvents, answer::Refused, json, query::Query};

/// One page of the list, and the cursor of the next one, if there is one.
pub(crate) async fn list(dispatcher: &Dispatcher, query: &Query) -> Result<Value, Refused> {
    let page = query.page()?;
    let filter = query.filter(dispatcher).await?;
    // One more than is shown: it says whether there is another page. Whatever is missing may be a row that
    // cannot be read, so only an empty answer is the end.
    let mut asked = Page::first(page.at_most() + 1);
    if let Some(before) = page.before() {
        asked = asked.after(before);
    }
    let mut records = Vec::new();
    while records.len() <= page.at_most() {
        let found = dispatcher.deliveries(&filter, asked).await;
        let found = found.map_err(Refused::Outbox)?;
        let Some(last) = found.last() else { break };
        asked = asked.after(last.id);
        records.extend(found);
    }
    let is_more = records.len() > page.at_most();
    records.truncate(page.at_most());
    let next = records.last().filter(|_| is_more);
    Ok(json!({
        "deliveries": records.iter().map(json::line).collect::<Value>(),
        "next": next.map(|record| record.id.to_string()),
    }))
}

pub(crate) async fn one(
    dispatcher: &Dispatcher,
    query: &Query,
    events: Option<&ConsoleEvents>,
) -> Result<Value, Refused> {
    let id = query.id()?;
    let found = dispatcher.delivery(id).await.map_err(Refused::Outbox)?;
    let record = found.ok_or(Refused::NotFound)?;
    let next_at = events.and_then(|events| events.next_attempt(id));
    let sent = dispatcher.headers(id).await.map_err(Refused::Outbox)?;
    Ok(json::whole(&record, next_at, sent.as_ref()))
}

pub(crate) async fn payload(dispatcher: &Dispatcher, query: &Query) -> Result<Value, Refused> {
    let found = dispatcher.payload(query.id()?).await;
    let payload = found.map_err(Refused::Outbox)?;
    Ok(json::preview(&payload.ok_or(Refused::NotFound)?))
}
