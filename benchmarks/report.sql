WITH recent AS (
    SELECT
        o.order_id,
        o.customer_id,
        o.ordered_at,
        o.total,
        o.comment,
        o.status,
        row_number() OVER (PARTITION BY o.customer_id ORDER BY o.ordered_at DESC, o.order_id) AS place
    FROM orders AS o
    WHERE o.ordered_at >= DATE '2026-01-01'
      AND o.status IN ('sent', 'returned')
      AND o.comment IS NOT NULL
),

lines AS (
    SELECT
        l.order_id,
        count(*) AS items,
        sum(l.quantity * l.price) AS paid,
        sum(CASE WHEN l.returned THEN l.quantity * l.price ELSE 0 END) AS given_back,
        string_agg(p.title, ', ' ORDER BY l.line) AS titles
    FROM order_lines AS l
    JOIN products AS p ON p.product_id = l.product_id
    WHERE p.category <> 'voucher'
    GROUP BY l.order_id
    HAVING count(*) > 0
),

judged AS (
    SELECT
        r.order_id,
        r.customer_id,
        r.ordered_at,
        r.total,
        r.comment,
        n.items,
        n.paid,
        n.given_back,
        n.titles,
        llm_bool('Is this customer angry? ' || r.comment) AS angry,
        llm_class(
            'What is this comment about? ' || r.comment,
            ['delivery', 'quality', 'price', 'service', 'other']
        ) AS topic
    FROM recent AS r
    JOIN lines AS n ON n.order_id = r.order_id
    WHERE r.place <= 3
      AND n.paid > 20
),

replies AS (
    SELECT
        j.order_id,
        j.topic,
        CASE
            WHEN j.topic = 'delivery' THEN llm('Say when the parcel comes: ' || j.comment)
            WHEN j.topic = 'quality' AND j.given_back = 0 THEN llm('Offer a new one of ' || j.titles || ': ' || j.comment)
            WHEN j.total > 500 THEN llm('Ask them to call us: ' || j.comment)
            ELSE 'Thank you for your comment.'
        END AS reply
    FROM judged AS j
    WHERE j.angry
),

per_customer AS (
    SELECT
        j.customer_id,
        count(*) AS orders,
        count(*) FILTER (WHERE j.angry) AS complaints,
        max(j.ordered_at) AS last_order,
        sum(j.paid) AS paid,
        string_agg(j.comment, '; ' ORDER BY j.ordered_at) AS comments
    FROM judged AS j
    GROUP BY j.customer_id
)

SELECT
    c.customer_id,
    upper(c.name) AS name,
    coalesce(c.country, 'unknown') AS country,
    CASE
        WHEN s.paid > 10000 THEN 'gold'
        WHEN s.paid > 1000 THEN 'silver'
        ELSE 'plain'
    END AS rank,
    s.orders,
    s.complaints,
    s.last_order,
    j.topic,
    x.reply,
    llm('Sum up what this customer says: ' || s.comments) AS summary,
    coalesce(c.note, llm('A note on ' || c.name || ', who wrote: ' || s.comments)) AS note
FROM customers AS c
JOIN per_customer AS s ON s.customer_id = c.customer_id
JOIN judged AS j ON j.customer_id = c.customer_id
LEFT JOIN replies AS x ON x.order_id = j.order_id
WHERE c.active
  AND (c.country = 'FR' OR s.complaints > 1)
  AND llm_bool('May we write to them? ' || c.terms)
ORDER BY s.complaints DESC, c.customer_id, j.order_id
LIMIT 50
