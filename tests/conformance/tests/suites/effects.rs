//! The memory adapters that pretend to have an effect keep their promises too.

use crate::on_host::OnHost;
use kiln::memory::{MemoryBuilder, MemoryContainers, MemoryRegistry, MemorySource};
use kiln_conformance::Fresh;
use std::sync::Arc;

mod source {
    use super::*;
    kiln_conformance::source_suite!(Fresh::new(Arc::new(MemorySource::default())));
}

mod builder {
    use super::*;
    kiln_conformance::builder_suite!(OnHost::fresh(MemoryBuilder::new));
}

mod registry {
    use super::*;
    kiln_conformance::registry_suite!(OnHost::fresh(MemoryRegistry::new));
}

mod containers {
    use super::*;
    kiln_conformance::containers_suite!(OnHost::fresh(MemoryContainers::new));
}
