-- Finds a visible resource and locks it and its ancestors, patients first, as every writer does. All NULL if it is not there.
CREATE FUNCTION path_1 (of_level integer, of_id bytea, OUT p bigint, OUT s bigint, OUT e bigint, OUT i bigint) LANGUAGE plpgsql AS $path$
DECLARE
    locked bigint;
BEGIN
    IF of_level = 3 THEN
        SELECT st.patient, st.id, se.id, r.id INTO p, s, e, i FROM instance r JOIN series se ON se.id = r.series
        JOIN study st ON st.id = se.study WHERE r.public_id = of_id;
    ELSIF of_level = 2 THEN
        SELECT st.patient, st.id, r.id INTO p, s, e FROM series r JOIN study st ON st.id = r.study
        WHERE r.public_id = of_id AND r.deleted = 0;
    ELSIF of_level = 1 THEN
        SELECT r.patient, r.id INTO p, s FROM study r WHERE r.public_id = of_id AND r.deleted = 0;
    ELSE
        SELECT r.id INTO p FROM patient r WHERE r.public_id = of_id AND r.deleted = 0;
    END IF;
    IF p IS NOT NULL THEN
        SELECT r.id INTO locked FROM patient r WHERE r.id = p AND r.deleted = 0 FOR NO KEY UPDATE;
    END IF;
    IF s IS NOT NULL AND locked IS NOT NULL THEN
        SELECT r.id INTO locked FROM study r WHERE r.id = s AND r.deleted = 0 FOR NO KEY UPDATE;
    END IF;
    IF e IS NOT NULL AND locked IS NOT NULL THEN
        SELECT r.id INTO locked FROM series r WHERE r.id = e AND r.deleted = 0 FOR NO KEY UPDATE;
    END IF;
    IF i IS NOT NULL AND locked IS NOT NULL THEN
        SELECT r.id INTO locked FROM instance r WHERE r.id = i FOR NO KEY UPDATE;
    END IF;
    IF locked IS NULL THEN
        p := NULL;
        s := NULL;
        e := NULL;
        i := NULL;
    END IF;
END $path$
