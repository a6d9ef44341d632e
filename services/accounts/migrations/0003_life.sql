-- What an ACTIVE account is held by: nothing, a suspension, or the end of its subscription.
ALTER TABLE account ADD COLUMN hold text NOT NULL DEFAULT ''
    CHECK (hold IN ('', 'ADMINISTRATOR', 'UNPAID', 'ENDED'));
-- When an account whose subscription has ended is deleted with its data.
ALTER TABLE account ADD COLUMN delete_time timestamptz;
-- The one change of the account that is under way.
ALTER TABLE account ADD COLUMN change_saga uuid;
CREATE INDEX account_to_delete ON account (delete_time) WHERE hold = 'ENDED';

-- When a key that was rotated is revoked by itself; stays once it was.
ALTER TABLE access_key ADD COLUMN revoke_time timestamptz;
CREATE INDEX access_key_to_revoke ON access_key (revoke_time) WHERE sealed IS NOT NULL;
