"""Words, numbers and times of a page, in its language."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from service.codes import Codes, Term
from service.language import catalogue, translate
from service.review.urgency import Band, band_of
from service.tables import now

BEIJING = timezone(timedelta(hours=8))
"""All of China keeps one time without summer time, so pages need no table of zones."""

RAREST_SHOWN = 1e-6
"""A false-alarm rate below it is called rarer than it. A sample of thousands of searches supports no
smaller figure, and a larger one than this would only impress; twins and siblings are commoner."""

COMMONEST_AS_ONE_IN = 0.1
"""From here on "12 of 100 searches" is clearer than "1 of 8"."""

BANDS = {Band.STRONG: "band.strong", Band.FAIR: "band.fair", Band.WEAK: "band.weak"}

HARDLY_MEASURED = 0.2
"""An upper limit from here on says that the gallery holds too few persons to measure anything on it."""


@dataclass(frozen=True, slots=True)
class Words:
    """Says things in one language.

    Attributes:
        language: One of `service.language.LANGUAGES`.
        codes: The code tables.
    """

    language: str
    codes: Codes

    def t(self, key: str, **values: object) -> str:
        """Return a text of the catalogue."""
        return translate(self.language, key, **values)

    def named(self, table: str, code: str) -> str:
        """Return the word for a code of ours; one of another version, not in the catalogue, for itself."""
        return catalogue(self.language).get(f"{table}.{code}", code)

    def term(self, table: Mapping[str, Term], code: str | None) -> str:
        """Return the word of a code; a code that the table lacks stands for itself."""
        if code is None:
            return ""
        return table[code].word(self.language) if code in table else code

    def division(self, code: str | None) -> str:
        """Return a division code with the name of the nearest division above it that has one."""
        if code is None:
            return ""
        for known in (code, f"{code[:4]}00", f"{code[:2]}0000"):
            if known in self.codes.divisions:
                return f"{self.codes.divisions[known].word(self.language)} {code}"
        return code

    def join(self, parts: Iterable[str]) -> str:
        """Return a list as one text."""
        return ("、" if self.language == "zh-CN" else ", ").join(parts)

    def moment(self, at: datetime) -> str:
        """Return a time to the minute, in Beijing time."""
        return at.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M")

    def day(self, on: date | None) -> str:
        """Return a date, or nothing."""
        return "" if on is None else on.isoformat()

    def waited(self, since: datetime, until: datetime | None = None) -> str:
        """Return how long something has waited, in its two largest units."""
        minutes = max(0, int(((until or now()) - since).total_seconds()) // 60)
        days, hours = minutes // 1440, minutes // 60 % 24
        if days:
            return self.t("time.days", days=days, hours=hours)
        if hours:
            return self.t("time.hours", hours=hours, minutes=minutes % 60)
        return self.t("time.minutes", minutes=minutes)

    def score(self, value: float) -> str:
        """Return a score or threshold to three decimals."""
        return f"{value:.3f}"

    def count(self, number: int) -> str:
        """Return a number with its thousands set off."""
        return f"{number:,}"

    def large(self, number: int) -> str:
        """Return a rounded number as it is read aloud: Chinese counts in steps of ten thousand."""
        if self.language == "zh-CN":
            for unit, word in ((10**8, "亿"), (10**4, "万")):
                if number >= unit:
                    return f"{number / unit:g} {word}"
            return f"{number:,} "  # A space stands between digits and characters.
        return self.count(number)

    def share(self, rate: float) -> str:
        """Return a rate as a share of searches, such as "1 of 2,000"; both rounded to two digits."""
        if rate < RAREST_SHOWN:
            return self.t("rate.under_one_in", n=self.large(round(1 / RAREST_SHOWN)))
        if rate >= COMMONEST_AS_ONE_IN:
            return self.t("rate.of_hundred", n=round(rate * 100))
        return self.t("rate.one_in", n=self.large(_two_digits(1 / rate)))

    def false_alarms(self, rate: float, low: float, high: float) -> str:
        """Return the sentence that tells an officer how often strangers look this similar."""
        if low < RAREST_SHOWN and high >= HARDLY_MEASURED:
            return self.t("rate.sentence_unmeasured", share=self.share(rate))
        if rate < RAREST_SHOWN:
            return self.t("rate.sentence_at_most", share=self.share(max(high, RAREST_SHOWN)))
        if low < RAREST_SHOWN:
            return self.t("rate.sentence_estimated", share=self.share(rate), commonest=self.share(high))
        bounds = {"share": self.share(rate), "rarest": self.share(low), "commonest": self.share(high)}
        return self.t("rate.sentence", **bounds)

    def band(self, rate: float) -> str:
        """Return how strong a similarity is, by how often strangers reach it."""
        return self.t(BANDS[band_of(rate)])


def _two_digits(number: float) -> int:
    """Round to two significant digits."""
    step = int(10 ** max(0, math.floor(math.log10(number)) - 1))
    return round(number / step) * step
