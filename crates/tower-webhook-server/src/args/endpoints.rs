use tower_webhook::{EndpointPolicy, endpoint::EndpointError};

/// Which endpoints webhooks may go to.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Endpoints")]
pub(crate) struct EndpointArgs {
    /// Accept webhook endpoints with http and in private networks: for trying out
    #[arg(long)]
    insecure_private_endpoints: bool,

    /// Accept this host as well, with http or https, also in a private network; *.NAME for all below.
    /// May be given more than once, or as a list with commas, as may the next ones
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = host)]
    permit_host: Vec<String>,

    /// Accept the addresses of this network as well, such as 10.20.0.0/16
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = network)]
    permit_network: Vec<String>,

    /// Refuse this host; *.NAME for all below
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = host)]
    deny_host: Vec<String>,

    /// Refuse the addresses of this network
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = network)]
    deny_network: Vec<String>,

    /// The prefix of this network's own NAT64, such as 2001:db8:64::/96
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = nat64_prefix)]
    nat64_prefix: Vec<String>,
}

type Added = Result<EndpointPolicy, EndpointError>;

/// What adds one value to a policy.
type Add = fn(EndpointPolicy, &str) -> Added;

impl EndpointArgs {
    pub(crate) fn policy(&self) -> Added {
        let mut policy = EndpointPolicy::public();
        if self.insecure_private_endpoints {
            policy = policy.with_insecure_http().with_insecure_private_networks();
        }
        let lists: [(&[String], Add); 5] = [
            (&self.permit_host, EndpointPolicy::with_permitted_host),
            (&self.permit_network, EndpointPolicy::with_permitted_network),
            (&self.deny_host, EndpointPolicy::with_denied_host),
            (&self.deny_network, EndpointPolicy::with_denied_network),
            (&self.nat64_prefix, EndpointPolicy::with_nat64_prefix),
        ];
        for (values, add) in lists {
            policy = values
                .iter()
                .try_fold(policy, |policy, value| add(policy, value))?;
        }
        Ok(policy)
    }
}

fn host(text: &str) -> Result<String, EndpointError> {
    let added = EndpointPolicy::public().with_denied_host(text);
    added.map(|_| text.to_owned())
}

fn network(text: &str) -> Result<String, EndpointError> {
    let added = EndpointPolicy::public().with_denied_network(text);
    added.map(|_| text.to_owned())
}

fn nat64_prefix(text: &str) -> Result<String, EndpointError> {
    let added = EndpointPolicy::public().with_nat64_prefix(text);
    added.map(|_| text.to_owned())
}
