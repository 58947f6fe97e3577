// The switch of user. See owner.hpp.
#include "queue/owner.hpp"

namespace ecto_job {

namespace {

// The table that is swept, and its owner. An ERROR leaves both set, harmlessly: sees_all_jobs() is
// then true only for the scheduler's superuser, whom no policy concerns
Oid swept = InvalidOid;
Oid sweeper = InvalidOid;

} // namespace

FormerSelf become_owner(Oid owner, Oid table) {
    if (SPI_execute("SET CONSTRAINTS ALL IMMEDIATE", false, 0) != SPI_OK_UTILITY)
        elog(ERROR, "SET CONSTRAINTS ALL IMMEDIATE failed");
    FormerSelf self{};
    GetUserIdAndSecContext(&self.user, &self.context);
    SetUserIdAndSecContext(owner, self.context | SECURITY_RESTRICTED_OPERATION);
    swept = table;
    sweeper = owner;
    self.settings_level = NewGUCNestLevel();
    set_config_option("search_path", safe_search_path, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
                      true, 0, false);
    return self;
}

void become_self(const FormerSelf &self) {
    AtEOXact_GUC(false, self.settings_level);
    SetUserIdAndSecContext(self.user, self.context);
    swept = sweeper = InvalidOid;
}

bool sees_all_jobs(Oid table) {
    return OidIsValid(swept) && swept == table && sweeper == GetUserId();
}

} // namespace ecto_job
