use async_nats::jetstream::stream::RawMessageErrorKind;
use tower_webhook::outbox::Sealing;

use crate::{JetStreamOutboxError, JetStreamOutboxErrorKind as Kind, engine::Engine, message};

impl Engine {
    /// Fails where the oldest delivery is sealed with a key that was not given. What is not sealed is no
    /// sign of a wrong key.
    pub(crate) async fn check(&self, keys: &Sealing) -> Result<(), JetStreamOutboxError> {
        let name = self.settings.name.stream();
        let refused = JetStreamOutboxError::new(Kind::Refused);
        let stream = match self.context.get_stream(name).await {
            Ok(stream) => stream,
            Err(error) => return Err(refused.with_source(error)),
        };
        let state = &stream.cached_info().state;
        if state.messages == 0 {
            return Ok(());
        }
        let oldest = match stream.get_raw_message(state.first_sequence).await {
            Ok(message) => message,
            // It has been delivered meanwhile.
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => return Ok(()),
            Err(error) => return Err(refused.with_source(error)),
        };
        let stored = message::read(&oldest.headers, &oldest.payload);
        let key_name = stored.and_then(|stored| stored.envelope.key_name());
        match key_name.is_none() || keys.can_open(key_name.as_deref()) {
            true => Ok(()),
            false => Err(Kind::UnknownKey.into()),
        }
    }
}
