"""The 200 Chinese plants of the demo: what is published comes from the extract, the rest is generated.

Not published, and therefore generated here, the same on every run: filing codes, national project codes, the
CCER registry's project ids, monthly meter readings and certified reductions.
"""

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from importlib import resources
from typing import Final

from soleclaim.core.period import Period
from soleclaim.natives.civil import CHINA, period_of_days

GENERATED_EN: Final = (
    "filing codes, national project codes, CCER project ids, monthly meter readings (capacity x plausible hours)"
    " and certified reductions (0.5 tCO2e per MWh)"
)
GENERATED_ZH: Final = (
    "建档立卡编码、国家项目代码、CCER 项目编号、月度电量读数（装机容量×合理利用小时）及核证减排量（0.5 tCO2e/MWh）"
)

FULL_LOAD_HOURS: Final = {"wind": 2_100, "solar": 1_300, "hydro": 3_600}
"""Plausible hours of a year at full capacity, by fuel."""

SEASON: Final = {
    "wind": (105, 100, 115, 115, 105, 85, 70, 70, 80, 100, 120, 135),
    "solar": (70, 80, 100, 115, 125, 120, 120, 115, 100, 95, 85, 75),
    "hydro": (55, 50, 60, 75, 110, 145, 165, 155, 140, 110, 75, 60),
}
"""Percent of an even month, January to December, by fuel; each row sums to 1,200."""

KGCO2E_PER_MWH: Final = 500
"""A round figure in the range of China's regional grids; for the demo only."""

PROVINCES: Final = {
    "Beijing": ("北京市", 110000),
    "Tianjin": ("天津市", 120000),
    "Hebei": ("河北省", 130000),
    "Shanxi": ("山西省", 140000),
    "Inner Mongolia": ("内蒙古自治区", 150000),
    "Liaoning": ("辽宁省", 210000),
    "Jilin": ("吉林省", 220000),
    "Heilongjiang": ("黑龙江省", 230000),
    "Shanghai": ("上海市", 310000),
    "Jiangsu": ("江苏省", 320000),
    "Zhejiang": ("浙江省", 330000),
    "Anhui": ("安徽省", 340000),
    "Fujian": ("福建省", 350000),
    "Jiangxi": ("江西省", 360000),
    "Shandong": ("山东省", 370000),
    "Henan": ("河南省", 410000),
    "Hubei": ("湖北省", 420000),
    "Hunan": ("湖南省", 430000),
    "Guangdong": ("广东省", 440000),
    "Guangxi": ("广西壮族自治区", 450000),
    "Hainan": ("海南省", 460000),
    "Chongqing": ("重庆市", 500000),
    "Sichuan": ("四川省", 510000),
    "Guizhou": ("贵州省", 520000),
    "Yunnan": ("云南省", 530000),
    "Tibet": ("西藏自治区", 540000),
    "Shaanxi": ("陕西省", 610000),
    "Gansu": ("甘肃省", 620000),
    "Qinghai": ("青海省", 630000),
    "Ningxia": ("宁夏回族自治区", 640000),
    "Xinjiang": ("新疆维吾尔自治区", 650000),
}
"""English name: Chinese name and administrative code (GB/T 2260)."""

_GEC_TYPE: Final = {"wind": "风电", "solar": "光伏", "hydro": "水电"}
_CCER_TYPE: Final = {
    "wind": ("A0102", "风力发电", "CCER-01-002-V01"),
    "solar": ("A0101", "太阳能发电", "CCER-01-001-V01"),
    # There is no CCER methodology for hydro power yet; the number is made up so that the plants can take part.
    "hydro": ("A0199", "水力发电", "CCER-01-099-V01"),
}


@dataclass(frozen=True, slots=True)
class Plant:
    """One plant. ``number`` counts from 1 in the order of the extract."""

    number: int
    cdm_ref: str
    name_in_gec: str
    name_in_ccer: str
    fuel: str
    capacity_mw: Decimal
    province: str

    @property
    def filing_code(self) -> str:
        """Generated: 17 characters like a GEC filing code."""
        return f"DEMO{PROVINCES[self.province][1]}{self.number:07d}"

    @property
    def project_code(self) -> str:
        """Generated: 24 characters like a national project code. Both registries carry it."""
        return f"2401-{PROVINCES[self.province][1]}-44-01-{self.number:06d}"

    @property
    def ccer_project_id(self) -> str:
        """Generated: 19 digits like a CCER ``projectInfoId``."""
        return str(1_700_000_000_000_000_000 + self.number)

    def reading_kwh(self, month: date) -> int:
        """Generated: settled generation of the month that starts at ``month``, in kWh."""
        even_kwh = self.capacity_mw * 1000 * FULL_LOAD_HOURS[self.fuel] / 12
        # A plant's month differs from its neighbour's by up to ten percent either way.
        digest = hashlib.sha256(f"{self.cdm_ref} {month:%Y-%m}".encode()).digest()
        per_mille = 900 + int.from_bytes(digest[:4], "big") % 201
        return int(even_kwh * SEASON[self.fuel][month.month - 1] * per_mille) // 100_000

    def reduction_t(self, months: "Months") -> int:
        """Generated: certified reduction of these months in whole tCO2e."""
        return sum(self.reading_kwh(month) for month in months) * KGCO2E_PER_MWH // 1_000_000


@dataclass(frozen=True, slots=True)
class Months:
    """Whole civil months: ``first`` is the first day of the first month, ``count`` how many."""

    first: date
    count: int

    def __iter__(self) -> Iterator[date]:
        """First day of each month."""
        day = self.first
        for _ in range(self.count):
            yield day
            day = next_month(day)

    @property
    def last_day(self) -> date:
        """Last day, inclusive."""
        *_, month = self
        return next_month(month) - timedelta(days=1)

    @property
    def period(self) -> Period:
        """These months in China, as half-open instants."""
        return period_of_days(self.first, self.last_day, CHINA)

    def __str__(self) -> str:
        return f"{self.first:%Y-%m}" if self.count == 1 else f"{self.first:%Y-%m} … {self.last_day:%Y-%m}"


def next_month(first: date) -> date:
    """First day of the month after."""
    return (first + timedelta(days=31)).replace(day=1)


def load_plants(limit: int | None = None) -> tuple[Plant, ...]:
    """The plants of the extract, at most ``limit``."""
    text = resources.files("soleclaim.demo").joinpath("data", "china_plants", "plants.csv").read_text("utf-8")
    rows = list(csv.DictReader(text.splitlines()))[:limit]
    return tuple(
        Plant(
            number=number,
            cdm_ref=row["cdm_ref"],
            name_in_gec=row["wri_name"],
            name_in_ccer=row["cdm_title"],
            fuel=row["fuel"],
            capacity_mw=Decimal(row["cdm_mw"]),
            province=row["province"],
        )
        for number, row in enumerate(rows, start=1)
    )


def gec_filing(plant: Plant) -> dict[str, object]:
    """The plant as the green certificate system files it."""
    return {
        "filingCode": plant.filing_code,
        "projectName": plant.name_in_gec,
        "owner": f"owner of {plant.name_in_gec}",
        "projectCode": plant.project_code,
        "energyType": _GEC_TYPE[plant.fuel],
        "province": PROVINCES[plant.province][0],
        "capacityMw": _three_places(plant.capacity_mw),
        "tradable": plant.fuel != "hydro",
    }


def gec_reading(plant: Plant, month: date) -> dict[str, object]:
    """One month's settled generation as the green certificate system records it."""
    return {"filingCode": plant.filing_code, "month": f"{month:%Y-%m}", "kwh": plant.reading_kwh(month)}


def ccer_project(plant: Plant) -> dict[str, object]:
    """The plant as the CCER system registers it."""
    code, name, methodology = _CCER_TYPE[plant.fuel]
    year = Months(date(2025, 1, 1), 12)
    return {
        "projectInfoId": plant.ccer_project_id,
        "projectCode": plant.project_code,
        "projectName": plant.name_in_ccer,
        "orgCustomerName": f"owner of {plant.name_in_gec}",
        "projectType": code,
        "projectTypeName": name,
        "methodologyNum": methodology,
        "provinceName": PROVINCES[plant.province][0],
        "capacityMw": _three_places(plant.capacity_mw),
        "expectYearNum": plant.reduction_t(year),
    }


def ccer_reduction(plant: Plant, months: Months) -> dict[str, object]:
    """A certified reduction as the CCER system records it."""
    return {
        "projectInfoId": plant.ccer_project_id,
        "startDate": f"{months.first:%Y%m%d}",
        "endDate": f"{months.last_day:%Y%m%d}",
        "certifiedNum": plant.reduction_t(months),
    }


def _three_places(capacity: Decimal) -> str:
    return f"{capacity.quantize(Decimal('0.001')).normalize():f}"
