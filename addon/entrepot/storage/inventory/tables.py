"""The tables of an inventory: images, and what each is made of, derived from the store's rows.

Rows say which manifests a repository has (*link*), what a tag last was (*tag*) and what a manifest
lists (its tag column). SQLite makes images of that in memory, in some tenths of a second for
10,000, without Python's lock and without a manifest's JSON: so a pull does not notice.

An image is a manifest of a repository that has a tag there, or that no index lists which the
repository has too. It is made of all that it lists, and what these list, as far as it is here. A
manifest that no repository is known to have (its links expired) is an image without a name: it is
not shown, but what it lists is shared with it.
"""

_MANIFESTS = """
INSERT INTO Manifest
SELECT number, substr(rest, 1, instr(rest, ' ') - 1), substr(rest, instr(rest, ' ') + 1),
  json_extract(tag, '$.type'),
  COALESCE(json_extract(tag, '$.type') LIKE '%index%'
    OR json_extract(tag, '$.type') LIKE '%manifest.list%', 0)
FROM (
  SELECT rowid AS number, substr(key, 10) AS rest,
    CASE WHEN json_valid(CAST(tag AS TEXT)) THEN CAST(tag AS TEXT) ELSE '{}' END AS tag
  FROM main.Cache WHERE key > 'manifest ' AND key < 'manifest!' AND raw = 1)
"""

_LISTED = """
INSERT OR IGNORE INTO Listed
SELECT number, CASE WHEN is_index
  THEN (SELECT child.number FROM Manifest child WHERE child.origin = parent.origin
    AND child.digest = parent.listed_digest)
  ELSE COALESCE(
    (SELECT rowid FROM main.Cache WHERE key = 'blob ' || parent.listed_digest AND raw = 1), 0) END
    AS child
FROM (
  SELECT number, origin, is_index,
    CASE WHEN length(each.value) > 64 THEN 'sha512:' ELSE 'sha256:' END || each.value
      AS listed_digest
  FROM (
    SELECT number, origin, is_index, COALESCE(CASE WHEN json_valid(CAST(tag AS TEXT))
      THEN json_extract(CAST(tag AS TEXT), '$.listed') END, listed_in(number)) AS listed
    FROM Manifest CROSS JOIN main.Cache ON Cache.rowid = number),
    json_each(CASE WHEN listed = '' OR listed GLOB '*[^0-9a-f ]*' THEN '[]'
      ELSE '["' || replace(listed, ' ', '","') || '"]' END) each) parent
"""
"""``child`` is 0 where it is not here; what an index lists that is not here has no row."""

_OWNERS = """
INSERT OR IGNORE INTO Owner
SELECT Manifest.number, Manifest.origin, substr(rest, length(Manifest.origin) + 2,
  length(rest) - length(Manifest.origin) - 2 - length(Manifest.digest))
FROM (
  SELECT substr(key, 6) AS rest, CASE WHEN substr(key, -71, 7) = 'sha256:' THEN 71 ELSE 135 END
    AS size
  FROM knowledge.Cache WHERE key > 'link ' AND key < 'link!' AND raw = 1
    AND COALESCE(expire_time, :now + 1) > :now) link
CROSS JOIN Manifest ON Manifest.origin = substr(rest, 1, instr(rest, ' ') - 1)
  AND Manifest.digest = substr(rest, -size)
"""

_TAGS = """
INSERT INTO Tag
SELECT origin, substr(rest, 1, instr(rest, ' ') - 1), substr(rest, instr(rest, ' ') + 1), digest
FROM (
  SELECT substr(words, 1, instr(words, ' ') - 1) AS origin,
    substr(words, instr(words, ' ') + 1) AS rest, digest
  FROM (
    SELECT substr(row_key, 5) AS words, json_extract(each.value, '$.digest') AS digest,
      max(json_extract(each.value, '$.checked'))
    FROM (
      SELECT key AS row_key, CASE WHEN json_valid(CAST(value AS TEXT))
        THEN CAST(value AS TEXT) ELSE '{}' END AS entries
      FROM knowledge.Cache WHERE key > 'tag ' AND key < 'tag!' AND raw = 1
        AND COALESCE(expire_time, :now + 1) > :now),
      json_each(entries) each
    WHERE each.type = 'object' GROUP BY row_key))
"""

_IMAGES = """
INSERT INTO Image (origin, name, number, tags)
SELECT Owner.origin, Owner.name, Owner.number, (
  SELECT group_concat(tag, ' ') FROM (SELECT tag FROM Tag WHERE Tag.origin = Owner.origin
    AND Tag.name = Owner.name AND Tag.digest = Manifest.digest ORDER BY tag)) AS its_tags
FROM Owner JOIN Manifest USING (number)
WHERE its_tags IS NOT NULL OR NOT EXISTS (
  SELECT 1 FROM Listed JOIN Owner AS whole ON whole.number = Listed.parent
    AND whole.origin = Owner.origin AND whole.name = Owner.name
  WHERE Listed.child = Owner.number)
"""

_NAMELESS = """
INSERT INTO Image (origin, number)
SELECT origin, number FROM Manifest WHERE number NOT IN (SELECT number FROM Owner)
  AND NOT EXISTS (SELECT 1 FROM Listed WHERE child = Manifest.number)
"""

_PARTS = """
INSERT INTO Part
WITH RECURSIVE reached (image, number) AS (
  SELECT id, number FROM Image
  UNION SELECT image, child FROM reached JOIN Listed ON parent = reached.number
    WHERE child > 0)
SELECT image, number FROM reached
"""

_OBJECTS = """
INSERT INTO Object
SELECT Part.number, CAST(COALESCE(size, 0) AS INTEGER) + COALESCE(length(value), 0), count(*),
  CAST(COALESCE(access_time, 0) AS REAL), CAST(COALESCE(store_time, 0) AS REAL)
FROM Part CROSS JOIN main.Cache ON Cache.rowid = Part.number GROUP BY Part.number
"""

_SUMMARY = """
INSERT INTO Summary
SELECT Part.image, sum(bytes), sum(CASE WHEN images = 1 THEN bytes ELSE 0 END),
  max(CASE WHEN Manifest.number IS NOT NULL THEN used END),
  COALESCE(sum(NOT is_index), 0) > 0 AND NOT EXISTS (
    SELECT 1 FROM Part AS one JOIN Manifest AS plain USING (number) JOIN Listed
      ON parent = one.number
    WHERE one.image = Part.image AND NOT plain.is_index AND child = 0)
FROM Part CROSS JOIN Object USING (number) LEFT JOIN Manifest USING (number) GROUP BY Part.image
"""

_NAMES = """
UPDATE Image SET registry = registry_name(origin),
  pinned = EXISTS (SELECT 1 FROM knowledge.Cache, Manifest WHERE Manifest.number = Image.number
    AND key = 'pin ' || Image.origin || ' ' || Image.name || ' ' || Manifest.digest AND raw = 1)
WHERE name IS NOT NULL
"""

BUILD = (
    (
        "CREATE TEMP TABLE Manifest (number INTEGER PRIMARY KEY, origin TEXT, digest TEXT,"
        " media_type TEXT, is_index INTEGER)"
    ),
    _MANIFESTS,
    "CREATE INDEX temp.Manifest_name ON Manifest (digest, origin)",
    (
        "CREATE TEMP TABLE Listed (parent INTEGER, child INTEGER, PRIMARY KEY (parent, child))"
        " WITHOUT ROWID"
    ),
    _LISTED,
    "CREATE INDEX temp.Listed_child ON Listed (child, parent)",
    (
        "CREATE TEMP TABLE Owner (number INTEGER, origin TEXT, name TEXT,"
        " PRIMARY KEY (number, origin, name)) WITHOUT ROWID"
    ),
    _OWNERS,
    "CREATE TEMP TABLE Tag (origin TEXT, name TEXT, tag TEXT, digest TEXT)",
    _TAGS,
    "CREATE INDEX temp.Tag_digest ON Tag (digest, name, origin)",
    (
        "CREATE TEMP TABLE Image (id INTEGER PRIMARY KEY, origin TEXT, name TEXT, number INTEGER,"
        " tags TEXT, registry TEXT, pinned INTEGER)"
    ),
    _IMAGES,
    _NAMELESS,
    (
        "CREATE TEMP TABLE Part (image INTEGER, number INTEGER, PRIMARY KEY (image, number))"
        " WITHOUT ROWID"
    ),
    _PARTS,
    "CREATE INDEX temp.Part_number ON Part (number, image)",
    (
        "CREATE TEMP TABLE Object (number INTEGER PRIMARY KEY, bytes INTEGER, images INTEGER,"
        " used REAL, stored REAL)"
    ),
    _OBJECTS,
    (
        "CREATE TEMP TABLE Summary (image INTEGER PRIMARY KEY, size INTEGER, freed INTEGER,"
        " used REAL, complete INTEGER)"
    ),
    _SUMMARY,
    _NAMES,
)
"""What makes the tables. Parameter ``:now`` is the time of day; functions are those of
``snapshot``."""
