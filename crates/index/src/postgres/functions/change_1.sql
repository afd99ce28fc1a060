-- Appends a change of each resource. Call it last: from here to the end of the transaction other writers wait for the counter, which is
-- what makes numbers visible in order.
CREATE FUNCTION change_1 (types smallint[], levels smallint[], resources bigint[], ids bytea[]) RETURNS void LANGUAGE plpgsql AS $change$
DECLARE
    first bigint;
BEGIN
    UPDATE counter c SET value = c.value + cardinality(types) WHERE c.name = 'change' RETURNING c.value - cardinality(types) INTO first;
    INSERT INTO change (seq, type, level, resource, public_id, at)
    SELECT first + d.n, d.type, d.level, d.resource, d.id, floor(extract(epoch FROM clock_timestamp()))
    FROM unnest(types, levels, resources, ids) WITH ORDINALITY d (type, level, resource, id, n);
END $change$
