-- Makes the lists of modalities and SOP classes of a study and of one of its series (if given) true again, from what is below them. Only a
-- series with several classes can lose one: without `thoroughly`, others are left alone.
CREATE FUNCTION refresh_1 (of_study bigint, of_series bigint, thoroughly boolean) RETURNS void LANGUAGE plpgsql AS $refresh$
DECLARE
    old text;
    new text;
BEGIN
    IF of_series IS NOT NULL THEN
        SELECT r.sop_classes INTO old FROM series r WHERE r.id = of_series;
        IF NOT thoroughly AND strpos(old, ',') = 0 THEN
            RETURN;
        END IF;
        SELECT '[' || coalesce(string_agg(to_json(d.value)::text, ',' ORDER BY d.value COLLATE "C"), '') || ']' INTO new
        FROM (SELECT DISTINCT r.sop_class AS value FROM instance r WHERE r.series = of_series AND r.sop_class <> '') d;
        UPDATE series r SET sop_classes = new WHERE r.id = of_series;
        IF NOT thoroughly AND new = old THEN
            RETURN;
        END IF;
    END IF;
    UPDATE study t SET
        modalities = (
            SELECT '[' || coalesce(string_agg(to_json(d.value)::text, ',' ORDER BY d.value COLLATE "C"), '') || ']' FROM (
                SELECT DISTINCT btrim(r.tags::json ->> '00080060',
                    E' \t\n\u000B\f\r\u0085\u00A0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200A\u2028\u2029\u202F\u205F\u3000'
                ) AS value FROM series r WHERE r.study = t.id AND r.deleted = 0
            ) d WHERE d.value <> ''
        ),
        sop_classes = (
            SELECT '[' || coalesce(string_agg(to_json(d.value)::text, ',' ORDER BY d.value COLLATE "C"), '') || ']' FROM (
                SELECT DISTINCT c.value FROM series r CROSS JOIN LATERAL json_array_elements_text(r.sop_classes::json) c
                WHERE r.study = t.id AND r.deleted = 0
            ) d
        )
    WHERE t.id = of_study;
END $refresh$
