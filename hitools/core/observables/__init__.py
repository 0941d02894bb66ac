"""Physics observables: EventBatch in, arrays out."""
