"""The SQL view `terms`: of each pair its licences, and what they allow together, as `effective` has it.

SELECT source, licences, count(*) FROM terms WHERE commercial IS NOT TRUE GROUP BY ALL
SELECT examples.* FROM examples JOIN terms USING (task, pair) WHERE commercial
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from manifests.licences.effective import AND, JOINED, JUDGES, SEPARATOR
from manifests.licences.records import (
    DUTIES,
    LICENCES,
    MODEL_FAMILIES,
    MODELS,
    PERMISSIONS,
    SOURCES,
    SPELLINGS,
    UNKNOWN,
    spelled,
)


def terms_view() -> str:
    """The statement that makes the view, over the view `examples`."""
    return f"CREATE VIEW terms AS {terms_of('examples')}"


def terms_of(examples: str) -> str:
    """The SELECT of the view's rows, of what stands behind FROM for the rows of `examples`."""
    material = (
        f"flatten([coalesce({_map(SPELLINGS)}[part], [{_text(UNKNOWN)}]) "
        f"for part in string_split({_spelled('licence')}, {_text(SEPARATOR)})])"
    )
    made_with = f"coalesce({_map(SOURCES)}[source], [])"
    making = f"step.model <> '' AND step.operator NOT IN {_texts(sorted(JUDGES))}"
    return f"""
WITH found AS (
    SELECT task, pair, source, licence,
           list_distinct(list_concat({material}, {made_with})) AS material,
           list_distinct([{_of_model("step.model")} for step in steps if {making}]) AS makers
    FROM {examples}
), each AS (
    SELECT task, pair, any_value(source) AS source, any_value(licence) AS licence, any_value(material) AS material,
           any_value(makers) AS makers, any_value(list_concat(material, makers)) AS every
    FROM found GROUP BY task, pair
)
SELECT task, pair, source, licence, list_sort(list_distinct(every)) AS licences,
       {", ".join(f"{_permission(term)} AS {term}" for term in PERMISSIONS)},
       {", ".join(f"{_duty(term)} AS {term}" for term in DUTIES)}
FROM each
"""


def _spelled(column: str) -> str:
    """A licence as `spelled` writes it, spellings that hold the separator replaced by the names of their records."""
    text = rf"regexp_replace(lower(trim({column}, ' ' || chr(9) || chr(10) || chr(13))), '[ \t\r\n_]+', '-', 'g')"
    for joined in JOINED:
        names = SEPARATOR.join(spelled(name) for name in SPELLINGS[joined])
        text = f"replace({text}, {_text(joined)}, {_text(names)})"
    return f"replace({text}, {_text(AND)}, {_text(SEPARATOR)})"


def _of_model(model: str) -> str:
    families = "".join(
        f" WHEN regexp_matches({model}, {_text(one)}) THEN {_text(name)}" for one, name in MODEL_FAMILIES
    )
    keys, values = _texts(MODELS, "[]"), _texts(MODELS.values(), "[]")
    known = f"MAP({keys}, {values})[{model}]"
    return f"coalesce({known}, CASE{families} ELSE {_text(UNKNOWN)} END)"


def _permission(term: str) -> str:
    denied = _texts(_with(term, False), "[]")
    unsaid = _texts((*_with(term, None), UNKNOWN), "[]")
    return (
        f"CASE WHEN list_has_any(every, {denied}) THEN false WHEN list_has_any(every, {unsaid}) THEN NULL ELSE true END"
    )


def _duty(term: str) -> str:
    """A duty of the source, or of a maker whose licence has duties for what it makes."""

    def has(value: bool | None, extra: Sequence[str] = ()) -> str:
        names = (*_with(term, value), *extra)
        of_makers = [name for name in names if name == UNKNOWN or LICENCES[name].duties_of_outputs]
        return f"(list_has_any(material, {_texts(names, '[]')}) OR list_has_any(makers, {_texts(of_makers, '[]')}))"

    return f"CASE WHEN {has(True)} THEN true WHEN {has(None, [UNKNOWN])} THEN NULL ELSE false END"


def _with(term: str, value: bool | None) -> list[str]:
    return [name for name, licence in LICENCES.items() if licence.term(term).value is value]


def _map(values: Mapping[str, Iterable[str]]) -> str:
    return f"MAP({_texts(values, '[]')}, [{', '.join(_texts(names, '[]') for names in values.values())}])"


def _texts(values: Iterable[str], brackets: str = "()") -> str:
    inner = ", ".join(map(_text, values))
    typed = "::VARCHAR[]" if brackets == "[]" else ""
    return f"{brackets[0]}{inner}{brackets[1]}{typed}"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
