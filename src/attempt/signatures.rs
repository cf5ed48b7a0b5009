use std::iter;

use http::HeaderValue;
use tokio::{
    sync::Semaphore,
    task::{spawn_blocking, yield_now},
};

use super::values::Values;
use crate::delivery::{
    Delivery, Payload, Secret, SigningKey,
    signature::{Ed25519Signature, Mac, Signing, head, sign},
};

/// The signatures of one attempt.
#[derive(Default)]
pub(super) struct Signatures {
    pub(super) branded: Option<Mac>,
    standard: Option<Mac>,
    /// With each key of the service's own.
    keyed: Vec<Ed25519Signature>,
}

/// How many bytes are hashed before other tasks have their turn: 50 to 200 microseconds.
const SLICE: usize = 64 << 10;

/// A larger payload is hashed outside the runtime. Slices take the longer the more tasks there are
/// beside them, and a large payload has many.
const MAX_IN_SLICES: usize = 1 << 20;

/// How many threads hash at once, at most. With one for each attempt, the threads of the runtime
/// would hardly get a processor.
static THREADS: Semaphore = Semaphore::const_new(4);

/// What is signed in one attempt.
#[derive(Clone, Copy)]
struct ToSign<'a> {
    secret: Option<&'a Secret>,
    keys: &'a [SigningKey],
    request_id: &'a [u8],
    /// Only where the form of Standard Webhooks is sent.
    delivery_id: Option<&'a [u8]>,
    timestamp: u64,
    payload: &'a Payload,
}

impl Signatures {
    /// Whether signing takes so long that other tasks should have their turn meanwhile.
    pub(super) fn take_long(delivery: &Delivery, keys: &[SigningKey]) -> bool {
        delivery.payload().len() > SLICE && (delivery.secret().is_some() || !keys.is_empty())
    }

    /// Signs at once, with the delivery's secret and with these keys. Without any there are none.
    /// `delivery_id` is its text, for the form of Standard Webhooks, which alone is signed with the keys.
    pub(super) fn new(
        delivery: &Delivery,
        keys: &[SigningKey],
        delivery_id: Option<&[u8]>,
        timestamp: u64,
    ) -> Self {
        ToSign::new(delivery, keys, delivery_id, timestamp).at_once()
    }

    /// Signs what [takes long](Self::take_long), while other tasks have their turn.
    pub(super) async fn patiently(
        delivery: &Delivery,
        keys: &[SigningKey],
        delivery_id: Option<&[u8]>,
        timestamp: u64,
    ) -> Self {
        let to_sign = ToSign::new(delivery, keys, delivery_id, timestamp);
        // A signature with a key is made without a pause.
        match to_sign.payload.len() > MAX_IN_SLICES || !keys.is_empty() {
            true => to_sign.on_a_thread().await,
            false => to_sign.in_slices().await,
        }
    }

    /// The capacity for the header of the Standard Webhooks form that [`Values`] do not have yet.
    pub(super) fn more_len(&self) -> usize {
        self.keyed.len() * (Ed25519Signature::TEXT_LEN + 1)
    }

    /// The value of the Standard Webhooks form's header: all signatures, separated by spaces.
    pub(super) fn standard(&self, values: &mut Values) -> HeaderValue {
        if let Some(mac) = self.standard {
            values.add(&mac.standard());
        }
        for signature in &self.keyed {
            values.add(&signature.text());
        }
        values.done()
    }
}

impl<'a> ToSign<'a> {
    fn new(
        delivery: &'a Delivery,
        keys: &'a [SigningKey],
        delivery_id: Option<&'a [u8]>,
        timestamp: u64,
    ) -> Self {
        Self {
            secret: delivery.secret(),
            keys,
            request_id: delivery.request_id().as_bytes(),
            delivery_id,
            timestamp,
            payload: delivery.payload(),
        }
    }

    /// The key and the id of the Standard Webhooks form. `None` where one MAC serves both forms: there
    /// is only the branded one, or the keys are equal and so are the ids, as where the caller sent no
    /// request id.
    fn standard(&self) -> Option<(Secret, &'a [u8])> {
        let (secret, id) = (self.secret?, self.delivery_id?);
        match secret.standard_key() {
            Some(key) => Some((key, id)),
            None if id != self.request_id => Some((secret.clone(), id)),
            None => None,
        }
    }

    fn at_once(&self) -> Signatures {
        let sign = |key: &Secret, id| sign(key, id, self.timestamp, self.payload.segments());
        let branded = self.secret.map(|secret| sign(secret, self.request_id));
        let standard = self.standard().map(|(key, id)| sign(&key, id));
        Signatures {
            branded,
            standard: standard.or(branded),
            keyed: self.with_keys(),
        }
    }

    fn with_keys(&self) -> Vec<Ed25519Signature> {
        let Some(id) = self.delivery_id.filter(|_| !self.keys.is_empty()) else {
            return Vec::new();
        };
        let head = head(id, self.timestamp);
        let message = iter::once(&head[..]).chain(self.payload.segments());
        let message: Vec<_> = message.collect();
        self.keys.iter().map(|key| key.sign(&message)).collect()
    }

    async fn in_slices(&self) -> Signatures {
        let Some(secret) = self.secret else {
            return self.at_once();
        };
        let branded = self.sign_in_slices(secret, self.request_id).await;
        let standard = match self.standard() {
            Some((key, id)) => self.sign_in_slices(&key, id).await,
            None => branded,
        };
        Signatures {
            branded: Some(branded),
            standard: Some(standard),
            keyed: self.with_keys(),
        }
    }

    async fn sign_in_slices(&self, key: &Secret, id: &[u8]) -> Mac {
        let mut signing = Signing::new(key, id, self.timestamp);
        let mut room = SLICE;
        for mut segment in self.payload.segments() {
            while let Some((slice, rest)) = segment.split_at_checked(room) {
                signing.update(slice);
                (segment, room) = (rest, SLICE);
                yield_now().await;
            }
            signing.update(segment);
            room -= segment.len();
        }
        signing.finish()
    }

    async fn on_a_thread(&self) -> Signatures {
        let turn = THREADS.acquire().await;
        // Not the delivery: its end is reported once nobody has it any more, and the thread goes on
        // when the attempt is cut off.
        let secret = self.secret.cloned();
        let keys = self.keys.to_vec();
        let request_id = self.request_id.to_vec();
        let delivery_id = self.delivery_id.map(<[u8]>::to_vec);
        let timestamp = self.timestamp;
        let payload = self.payload.clone();
        let signing = spawn_blocking(move || {
            let _turn = turn;
            let to_sign = ToSign {
                secret: secret.as_ref(),
                keys: &keys,
                request_id: &request_id,
                delivery_id: delivery_id.as_deref(),
                timestamp,
                payload: &payload,
            };
            to_sign.at_once()
        });
        match signing.await {
            Ok(signatures) => signatures,
            // The runtime is ending, and has no more threads for it.
            Err(_) => self.in_slices().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::select;

    use super::*;
    use crate::{delivery::DeliveryParts, endpoint::EndpointPolicy, id::RequestId};

    const ID: &[u8] = b"the-id-of-the-delivery";

    fn delivery(payload: impl Into<Payload>, secret: Option<&str>) -> Delivery {
        let endpoint = EndpointPolicy::public().check("https://example.com/");
        let mut parts = DeliveryParts::new(endpoint.unwrap(), payload.into());
        parts.request_id = RequestId::parse("run-1").unwrap();
        parts.secret = secret.map(Secret::new);
        parts.into()
    }

    fn bytes(len: usize) -> Bytes {
        (0..len).map(|at| at as u8).collect()
    }

    /// What the headers of both forms say.
    fn texts(signatures: &Signatures) -> [Vec<u8>; 2] {
        let branded = signatures.branded.map(|mac| mac.cerebrium().to_vec());
        let standard = signatures.standard(&mut Values::new(0));
        [branded.unwrap_or_default(), standard.as_bytes().to_vec()]
    }

    fn keys(number: u8) -> Vec<SigningKey> {
        (0..number)
            .map(|key| SigningKey::from_bytes([key; 32]))
            .collect()
    }

    #[tokio::test]
    async fn patience_makes_no_difference() {
        let payloads = [
            0,
            1,
            SLICE - 1,
            SLICE,
            SLICE + 1,
            3 * SLICE,
            MAX_IN_SLICES + 1,
        ];
        let mut payloads: Vec<Payload> = payloads.map(|len| bytes(len).into()).into();
        payloads.push(vec![bytes(1); 2 * SLICE].into());
        payloads.push(vec![bytes(SLICE - 1), bytes(2), bytes(2 * SLICE), bytes(7)].into());
        for payload in payloads {
            for secret in [None, Some("secret"), Some("whsec_AAAA")] {
                let delivery = delivery(payload.clone(), secret);
                for (id, number) in [
                    (None, 0),
                    (Some(ID), 0),
                    (Some(ID), 2),
                    (Some(&b"run-1"[..]), 0),
                ] {
                    let keys = keys(number);
                    let at_once = Signatures::new(&delivery, &keys, id, 7);
                    let patiently = Signatures::patiently(&delivery, &keys, id, 7).await;
                    assert_eq!(texts(&patiently), texts(&at_once), "{payload:?}");
                    let [branded, standard] = texts(&at_once);
                    assert_eq!(branded.is_empty(), secret.is_none());
                    let several = standard.split(|&byte| byte == b' ');
                    let number = usize::from(number) + usize::from(secret.is_some());
                    assert_eq!(several.filter(|one| !one.is_empty()).count(), number);
                }
            }
        }
    }

    /// How many turns another task of this runtime has while these are made.
    async fn turns(delivery: &Delivery, keys: &[SigningKey]) -> usize {
        let mut turns = 0;
        let others = async {
            loop {
                turns += 1;
                yield_now().await;
            }
        };
        select! {
            biased;
            () = others => unreachable!("it does not end"),
            _signatures = Signatures::patiently(delivery, keys, Some(ID), 7) => {}
        }
        turns
    }

    #[tokio::test]
    async fn a_large_payload_does_not_stall_the_runtime() {
        for slices in [1, 2, 16] {
            let delivery = delivery(bytes(slices * SLICE), Some("secret"));
            assert!(turns(&delivery, &[]).await >= 2 * slices, "{slices}");
            assert!(turns(&delivery, &keys(1)).await > 1, "{slices}");
        }
        let delivery = delivery(bytes(MAX_IN_SLICES + 1), Some("secret"));
        assert!(turns(&delivery, &[]).await > 1);
    }

    #[test]
    fn a_small_payload_is_signed_at_once() {
        for (len, secret, number, long) in [
            (0, Some("secret"), 1, false),
            (SLICE, Some("secret"), 1, false),
            (SLICE + 1, Some("secret"), 0, true),
            (SLICE + 1, None, 1, true),
            (MAX_IN_SLICES + 1, Some("secret"), 0, true),
            (MAX_IN_SLICES + 1, None, 0, false),
        ] {
            let delivery = delivery(bytes(len), secret);
            assert_eq!(
                Signatures::take_long(&delivery, &keys(number)),
                long,
                "{len}"
            );
        }
    }

    #[test]
    fn a_runtime_that_ends_leaves_no_turn_taken() {
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap()
        };
        let delivery = delivery(bytes(MAX_IN_SLICES + 1), Some("secret"));
        for _ in 0..20 {
            let runtime = runtime();
            let delivery = delivery.clone();
            runtime.spawn(async move { Signatures::patiently(&delivery, &[], None, 7).await });
            runtime.block_on(yield_now());
            runtime.shutdown_background();
        }
        let made = runtime().block_on(Signatures::patiently(&delivery, &[], None, 7));
        assert!(made.branded.is_some());
    }
}
