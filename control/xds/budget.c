#include "control/xds/budget.h"

#include <errno.h>

void control_budget_init(struct control_budget *budget, uint32_t mib)
{
    size_t all = (size_t)mib << 20;
    *budget = (struct control_budget){.client_max = {all / 4, all / 8}, .all_max = {all, all / 2}};
    fl_map_init(&budget->accounts, FL_MAP_MAX);
}

void control_budget_done(struct control_budget *budget)
{
    fl_map_done(&budget->accounts);
}

static struct control_budget_account *open_account(struct control_budget *budget, struct fl_span client)
{
    struct control_budget_account *account = calloc(1, sizeof(*account) + client.len);
    if (account == NULL)
        return NULL;
    if (client.len > 0)
        memcpy(account->text, client.data, client.len);
    account->key = fl_span_make(account->text, client.len);
    if (fl_map_put(&budget->accounts, account->key, account) == 0)
        return account;
    free(account);
    return NULL;
}

int control_budget_join(struct control_budget *budget, struct fl_span client, struct control_budget_share *share)
{
    struct control_budget_account *account = fl_map_get(&budget->accounts, client);
    if (account == NULL)
        account = open_account(budget, client);
    if (account == NULL)
        return -ENOMEM;
    account->shares++;
    *share = (struct control_budget_share){.account = account};
    return 0;
}

static void take_back(struct control_budget *budget, struct control_budget_share *share, enum control_budget_kind kind)
{
    share->account->used[kind] -= share->used[kind];
    budget->used[kind] -= share->used[kind];
    share->used[kind] = 0;
}

void control_budget_leave(struct control_budget *budget, struct control_budget_share *share)
{
    struct control_budget_account *account = share->account;
    if (account == NULL)
        return;
    for (enum control_budget_kind kind = 0; kind < CONTROL_BUDGET_KINDS; kind++)
        take_back(budget, share, kind);
    share->account = NULL;
    if (--account->shares > 0)
        return;
    fl_map_remove(&budget->accounts, account->key);
    free(account);
}

size_t control_budget_set(struct control_budget *budget, struct control_budget_share *share,
                          enum control_budget_kind kind, size_t amount)
{
    size_t before = share->used[kind];
    take_back(budget, share, kind);
    share->used[kind] = amount;
    share->account->used[kind] += amount;
    budget->used[kind] += amount;
    return before;
}

enum control_budget_verdict control_budget_judge(const struct control_budget *budget,
                                                 const struct control_budget_share *share,
                                                 enum control_budget_kind kind, size_t before)
{
    if (share->used[kind] <= before)
        return CONTROL_BUDGET_FITS;
    if (share->account->used[kind] > budget->client_max[kind])
        return CONTROL_BUDGET_CLIENT_FULL;
    return budget->used[kind] > budget->all_max[kind] ? CONTROL_BUDGET_ALL_FULL : CONTROL_BUDGET_FITS;
}
