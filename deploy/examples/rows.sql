-- One SELECT. It names a fixed extract, so that it gives the same rows whenever the agent starts anew, and it orders
-- them, since of a person with more rows than the study uses the first ones count.
SELECT patient_id, age, sex, systolic, died
FROM research.stroke_2025
WHERE admitted < DATE '2026-01-01'
ORDER BY patient_id, admitted
