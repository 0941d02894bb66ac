"""Jets with FastJet: EventBatch in, tables of jets out.

`find_jets(batch, JetDefinition(...))` is all that most callers need; `workers.find_all` is for long
runs on several cores.
"""

from hitools.core.observables.jets.definition import Areas, JetDefinition, Substructure
from hitools.core.observables.jets.finder import find_jets
from hitools.core.observables.jets.table import JetBatch

__all__ = ["Areas", "JetBatch", "JetDefinition", "Substructure", "find_jets"]
