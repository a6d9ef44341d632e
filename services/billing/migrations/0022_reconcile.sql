-- Orders that never came to an end are looked for, and subscriptions by the provider's orders and by
-- their customers.
CREATE INDEX subscription_ordering ON subscription (order_key) WHERE state = 'ordering';
CREATE INDEX subscription_order ON subscription (provider, order_id);
CREATE INDEX subscription_customer ON subscription (customer_id);
