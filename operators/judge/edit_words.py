"""Word lists of the rule-based edit classifier (`operators.judge.edit_rules`): verbs by what they do, and what is no
object.

General English, not the words of one dataset; a base form stands for its inflections (`verbs` in edit_rules).
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ADD = _words(
    "add insert include introduce attach superimpose install build erect append overlay embed incorporate write plant "
    "affix construct spawn engrave"
)
"""What follows is new whatever its article: "add the sun"."""

PUT = _words(
    "put place set lay position seat drop hang park stick throw pin lean mount draw paint sketch tie glue scatter "
    "sprinkle drizzle pour wrap release fit build create generate bring sit stand stack spread tuck drape bake tattoo "
    "carve print strap clip toss float arrange show see want need use get render depict feature display grow imagine "
    "have let make leave spray doodle"
)
"""What follows is new if it has no definite article: "put a vase" adds, "put the vase on the floor" moves."""

COVER = _words(
    "fill cover surround decorate top wrap adorn garnish dress equip furnish line dot litter populate crown stuff load "
    "encircle flank ring coat sprinkle clothe outfit fit accessorise accessorize embellish replenish"
)
"""What follows "with" or "in" is new."""

HOLD = _words(
    "wear hold carry have eat drink play ride read bite lick chew wield wave sip juggle smoke pull push walk use "
    "clutch grab sport"
)
"""What follows is new if it has no definite article: "the boy should hold a balloon"."""

REMOVE = _words(
    "remove delete erase eliminate discard omit exclude hide ditch uproot demolish vanish unhang withdraw shave banish "
    "subtract scrap dismantle detach obliterate expunge disappear evict unload extract conceal"
)
"""What follows is gone."""

REMOVE_DEFINITE = _words("drop lose clear empty axe nuke kill strip dump bin trash")
"""What follows is gone if it has a definite article: "drop the second chair", not "drop some ice into the drink"."""

REMOVE_WITH_PARTICLE = _words(
    "take cut crop edit photoshop wipe get pull tear peel strip scrub scrape wash pick pluck throw clean put rub chop "
    "move knock rip brush blow sweep shovel lift send fade leave keep bring walk fly drive hide carry chase rinse mask "
    "paint airbrush clone retouch clear trim saw toss shoo kick unplug break burn"
)
"""What follows is gone if "off", "out", "away", "down" or "from" comes after it: "take the spoon from the bowl"."""

OTHER = _words(
    "change turn adjust keep replace swap switch transform convert rotate zoom sharpen brighten darken blur increase "
    "decrease boost enhance open close raise light move flip straighten fold shift tilt enlarge shrink colour color "
    "tint recolor recolour apply tidy"
)
"""Verbs that neither add nor remove an object; they matter only for finding where a clause begins."""

DETERMINERS = _words("the his her its their our my your this that these those")
PRONOUNS = _words("it him her them me us himself herself itself themselves")
DEFINITE = DETERMINERS | PRONOUNS | _words("all both each every everyone everybody everything")
QUANTIFIERS = _words(
    "a an some another more any several few many extra additional one two three four five six seven eight nine ten "
    "dozen dozens lots plenty couple all of both each every other no other"
)
INDEFINITE = QUANTIFIERS - {"all", "of", "both", "each", "every", "other"} | _words("someone somebody something people")

PARTITIVES = _words(
    "number pair lot lots bit touch hint piece slice bunch group couple dozen dozens amount layer kind sort type "
    "plenty hundreds thousands set rest all some many any most each sense dash pop splash cup bowl load"
)
"""Head nouns that say little: in "a touch of warmth" the object is warmth."""

STOPS = _words(
    "in on at to from with over under above below behind beside between by near next into onto upon off out around "
    "across along through against inside outside atop towards toward for while so that who which where when as is are "
    "was were be been should could would can will must to but except than like if because and or appear vanish "
    "disappear go gone then there instead please here away down up of being has have"
)
"""A noun phrase ends before these."""

NOUNS_IN_ING = _words(
    "building ring earring wing painting icing string king railing ceiling lightning pudding sling swing clothing "
    "wedding dressing lighting shading thing something anything nothing everything frosting topping drawing awning "
    "carving spring stocking sibling duckling clearing coloring colouring styling"
)

COLOURS = _words(
    "red orange yellow green blue purple violet pink brown black white gray grey gold silver golden teal turquoise "
    "beige cyan magenta sepia monochrome grayscale greyscale"
)

NO_OBJECT = COLOURS | _words(
    # the image as such
    "image composition background backdrop foreground scene setting view perspective angle horizon exposure iso "
    "resolution quality version crop zoom orientation frame focus "
    # light and colour
    "color colour contrast saturation vibrance vibrancy brightness light lighting sunlight daylight moonlight glow "
    "glare shine shade shading shadow highlight tint hue tone tonality gradient palette reflection backlight sunshine "
    "warmth coolness gloss sheen sparkle luminosity intensity illumination sunset sunrise dusk dawn twilight night day "
    # photographic and artistic effects
    "blur blurriness bokeh noise grain graininess filter effect vignette depth haze flare sharpness clarity detail "
    "style look feel mood vibe atmosphere ambience ambiance drama emotion movement motion aesthetic feeling energy "
    "artifact artefact distortion pixelation aberration realism "
    # weather
    "snow rain fog mist weather wind drizzle smog hail sleet storm blizzard humidity frost dew wetness "
    # surfaces and attributes of things
    "texture pattern stripe dot plaid print design finish wrinkle crease fold dirt dust stain scratch rust shape size "
    "scale length height width age weight volume transparency opacity change difference "
    # bodies and faces
    "smile frown grin expression smirk laugh face hair eye eyes skin makeup lipstick blush freckle pose posture head "
    "hand mouth body muscle hairstyle haircut hairdo bang tail complexion acne"
)
"""Nouns that are attributes, effects or weather: adding or removing them is no object edit."""

OBJECT_PLURALS = _words("lights")
"""Plurals that are things although the singular is not one: "add lights to the tree"."""
