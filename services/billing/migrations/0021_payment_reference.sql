-- What each reference of a payment stands for, before it is booked and for ever after, whoever
-- brings it: an operator or a payment processor, for an invoice or as credit.
CREATE TABLE payment_reference (
    reference text PRIMARY KEY,
    -- `invoices/7`, `customers/1001`; `customers/`: some customer's, from before this table.
    target text NOT NULL,
    -- Absent: all that was left to pay.
    amount_nanos bigint,
    currency text,
    -- Whether the provider has booked it.
    is_booked boolean NOT NULL,
    create_time timestamptz NOT NULL
);
INSERT INTO payment_reference (reference, target, is_booked, create_time)
    SELECT reference, 'invoices/' || CAST(invoice_id AS text), true, time FROM payment
    WHERE reference NOT LIKE ' %' ON CONFLICT (reference) DO NOTHING;
INSERT INTO payment_reference (reference, target, is_booked, create_time)
    SELECT substr(reference, 9), 'customers/', true, time FROM payment
    WHERE reference LIKE ' credit/%' ON CONFLICT (reference) DO NOTHING;
