"""What only a person can say of a release: the answers of its provider. about_file.py reads them."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from commoncanvas.config.schema import Schema
from commoncanvas.core.files import why
from commoncanvas.models.hub import HUB, owned
from commoncanvas.release.questions import questions

MONTH, ADDRESS = r"^\d{4}-(0[1-9]|1[0-2])$", r"^https?://"
DOI, VERSION = r"^10\.\d{4,9}/\S+$", r"^\d+\.\d+\.\d+$"
Kind = Literal["public", "licensed", "private", "crawled", "users", "synthetic", "other"]


def _tidy(value: object) -> object:
    """Empty texts are missing answers; a text on several lines is one line; YAML reads 1.0 as a number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return (" ".join(value.split()) or None) if isinstance(value, str) else value


def _month(value: object) -> object:
    """A month as YYYY-MM. YAML reads a day as a date."""
    return f"{value:%Y-%m}" if isinstance(value, datetime.date) else _tidy(value)


def _empty(value: object) -> object:
    """An empty key of a mapping or a list in YAML is null."""
    return {} if value is None else value


def _asked(answers: dict[str, str]) -> dict[str, str]:
    """Answers to questions that there are. Raises ValueError."""
    known = {one.key: one.field for one in questions()}
    for key in answers:
        if field := known.get(key):
            raise ValueError(f"write the answer to {key} as {field}")
        if key not in known:
            raise ValueError(f"there is no question {key}{hint(key, known)}")
    return answers


def hint(name: str, known: Iterable[str]) -> str:
    """The known name that is nearest to an unknown one, as the end of a sentence."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


Text = Annotated[str | None, BeforeValidator(_tidy)]
Month = Annotated[
    Annotated[str, Field(pattern=MONTH)] | None,
    BeforeValidator(_month),
]
YesNo = bool | None


class SourceAnswer(Schema):
    """What a person knows of one source of images."""

    kind: Kind | None = None
    title: Text = None
    link: Text = None
    description: Text = None


def _file(value: object, info: ValidationInfo) -> object:
    """The text of the file that an answer names, beside the file of answers. Raises ValueError."""
    name = _tidy(value)
    if not isinstance(name, str):
        return name
    try:
        return (Path((info.context or {}).get("folder", "")) / name).read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{name} can't be read: {why(error)}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not a text in UTF-8") from error


class PartAnswer(Schema):
    """What a person knows of a part by others in the weights. `license_file`: the text of the file that is named."""

    license: Text = None
    authors: Text = None
    page: Text = None
    license_file: Annotated[str | None, BeforeValidator(_file)] = None


class DatasetAnswers(Schema):
    """What a person knows of a data set, besides the answers that all releases have. None: not answered."""

    title: Text = Field(None, description="Name of the data set; without it, the folder's")
    authors: Annotated[tuple[str, ...], BeforeValidator(lambda value: value or ())] = Field(
        (), description="People to cite, as a list; without them, the provider"
    )
    url: Annotated[Annotated[str, Field(pattern=ADDRESS)] | None, BeforeValidator(_tidy)] = Field(
        None, description="The page of the data set, an address with https://"
    )
    doi: Annotated[Annotated[str, Field(pattern=DOI)] | None, BeforeValidator(_tidy)] = Field(
        None, description="Its DOI, such as 10.5281/zenodo.1"
    )
    version: Annotated[Annotated[str, Field(pattern=VERSION)] | None, BeforeValidator(_tidy)] = Field(
        None, description="MAJOR.MINOR.PATCH, such as 1.0.0 (https://semver.org); without it, the catalog's"
    )
    license: Text = Field(
        None, description="SPDX id of the licence of the table itself, not of the images: CDLA-Permissive-2.0"
    )
    answers: Annotated[dict[str, Text], BeforeValidator(_empty), AfterValidator(_asked)] = Field(
        {},
        description="Answers to questions of the datasheet. Their keys are in datasheet.md; release data prints those "
        "that are open",
    )


def _ask(question: str, *, needed: bool = True) -> Any:
    return Field(None, description=question, json_schema_extra={"needed": needed})


class About(Schema):
    """Answers of the provider. None: not answered. The descriptions are the questions of the template."""

    provider: Text = _ask("Who publishes the release: name of the person or organisation")
    contact: Text = _ask("A mail address or page where people can ask, and object to the use of their work")
    address: Text = _ask("Postal address of the provider")
    representative: Text = _ask(
        "Authorised representative in the European Union, with contact; only for providers outside of it",
        needed=False,
    )
    small_firm: YesNo = _ask("Is the provider a small or medium-sized enterprise? true or false")
    model: Text = _ask("The model's name for people, such as CommonCanvas S-C")
    version: Text = _ask("The model's version, such as 1.0")
    published: Text = _ask("Where the model is published: an id on the hub (org/name), or an address")
    released: datetime.date | None = _ask("Date of the release, YYYY-MM-DD")
    license_holder: Text = _ask("Who grants the licence of the weights")
    document_license: Text = _ask("SPDX id of the licence of the documents in this folder, such as CC-BY-4.0")
    code: Text = _ask("Address of the source code that trains, draws and evaluates", needed=False)
    data: Text = _ask(
        "Where the training images are published: an id on the hub, or an address", needed=False
    )
    paper: Text = _ask("Address of a paper about the model", needed=False)
    intended_use: Text = _ask("What the model is meant for")
    out_of_scope: Text = _ask("What the model is not meant for")
    sector: Text = _ask("Sectors in which the model may be used, such as education, art")
    limits: Text = _ask("Known limits and biases", needed=False)
    funding: Text = _ask("Who paid for the work")
    hardware: Text = _ask("Hardware of the training, such as 8 H100 for 40 hours")
    energy_kwh: float | None = Field(
        None,
        ge=0,
        description="Energy of the training in kWh, if it was measured",
        json_schema_extra={"needed": False},
    )
    languages: Text = _ask("Languages of the texts that the model learned from")
    collected_from: Month = _ask("First month in which data was collected, YYYY-MM", needed=False)
    collected_until: Month = _ask("Last month in which data was collected, YYYY-MM", needed=False)
    crawler_contact: Text = _ask(
        "The contact that the fetcher sent to servers (--contact of catalog fetch)", needed=False
    )
    user_data: YesNo = _ask("Did the model learn from what users typed or uploaded? true or false")
    code_of_practice: YesNo = _ask(
        "Has the provider signed the EU's Code of Practice for general-purpose AI? true or false"
    )
    reservations: Text = _ask(
        "Measures to respect reservations of rights, besides those that the fetcher takes"
    )
    illegal_content: Text = _ask("Measures against illegal content in the training data")
    sources: Annotated[dict[str, SourceAnswer], BeforeValidator(_empty)] = Field(
        {},
        description="Sources of images by their names in the catalog, each with kind "
        f"({', '.join(get_args(Kind))}), title, link and description",
    )

    parts: Annotated[dict[str, PartAnswer], BeforeValidator(_empty)] = Field(
        {},
        description="Parts by others in the weights, such as vae or text_encoder, if the record doesn't know it: each "
        "with license (SPDX id), authors, page and license_file",
    )
    dataset: Annotated[DatasetAnswers, BeforeValidator(_empty)] = Field(
        DatasetAnswers.model_validate({}), description="About a data set, for release data"
    )

    def say(self, name: str) -> str:
        """The answer `name` as text, or a line that says that it is missing."""
        answer = getattr(self, name)
        if answer is None:
            return to_fill_in(name)
        return ("yes" if answer else "no") if isinstance(answer, bool) else str(answer)

    def place(self, name: str) -> str | None:
        """The answer `name`, an id on the hub or an address, as an address; None if it is missing."""
        answer: str | None = getattr(self, name)
        if answer and owned(answer):
            return f"{HUB}/datasets/{answer}" if name == "data" else f"{HUB}/{answer}"
        return answer

    @property
    def hub_id(self) -> str | None:
        """The model's id on the hub; None if it is published elsewhere or not at all."""
        found = (self.published or "").removeprefix(HUB).strip("/")
        return found if owned(found) else None

    def missing(self) -> dict[str, str]:
        """Name -> question, of the answers that the documents need and that are missing."""
        return {
            name: field.description or name
            for name, field in type(self).model_fields.items()
            if getattr(self, name) is None and (field.json_schema_extra or {}).get("needed")  # type: ignore[union-attr]
        }


def to_fill_in(name: str) -> str:
    """What a document says in place of a missing answer."""
    return f"(to be filled in by the provider: {name})"
