"""Technologies in whatever words a source uses."""

import re
from functools import lru_cache

from soleclaim.identity.names import TECHNOLOGY_OF, TECHNOLOGY_OF_ZH


@lru_cache(maxsize=1024)
def technology_of(text: str) -> str:
    """hydro, wind, solar, biomass, methane, fossil, geothermal or nuclear; empty when the text does not tell one."""
    found = {kind for word, kind in TECHNOLOGY_OF_ZH.items() if word in text}
    found |= {TECHNOLOGY_OF[word] for word in re.findall(r"[a-z]+", text.lower()) if word in TECHNOLOGY_OF}
    if "biomass" in found or "methane" in found:
        found.discard("fossil")  # landfill gas, coal mine methane
    return found.pop() if len(found) == 1 else ""
