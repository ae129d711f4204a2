/* Labels and selectors over them: sorted lists, so that a look-up is a binary search and nothing is built for it. */
#include "common/kube/object.h"

static const struct fl_label *find(const struct fl_labels *labels, struct fl_span key)
{
    size_t low = 0, high = labels->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = fl_span_compare(labels->items[middle].key, key);
        if (order == 0)
            return &labels->items[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

struct fl_span fl_labels_get(const struct fl_labels *labels, struct fl_span key)
{
    const struct fl_label *label = find(labels, key);
    return label != NULL ? label->value : (struct fl_span){NULL, 0};
}

bool fl_labels_have(const struct fl_labels *labels, struct fl_span key)
{
    return find(labels, key) != NULL;
}

bool fl_labels_match(const struct fl_labels *wanted, const struct fl_labels *labels)
{
    for (size_t i = 0; i < wanted->count; i++) {
        const struct fl_label *label = find(labels, wanted->items[i].key);
        if (label == NULL || !fl_span_eq(label->value, wanted->items[i].value))
            return false;
    }
    return true;
}

static bool one_of(const struct fl_selector_expression *expression, struct fl_span value)
{
    for (size_t i = 0; i < expression->value_count; i++)
        if (fl_span_eq(expression->values[i], value))
            return true;
    return false;
}

static bool expression_match(const struct fl_selector_expression *expression, const struct fl_labels *labels)
{
    const struct fl_label *label = find(labels, expression->key);
    switch (expression->operator) {
    case FL_SELECT_IN:
        return label != NULL && one_of(expression, label->value);
    case FL_SELECT_NOT_IN: /* as Kubernetes: an absent label is not in the set */
        return label == NULL || !one_of(expression, label->value);
    case FL_SELECT_EXISTS:
        return label != NULL;
    case FL_SELECT_ABSENT:
        return label == NULL;
    }
    return false;
}

bool fl_selector_match(const struct fl_selector *selector, const struct fl_labels *labels)
{
    for (size_t i = 0; i < selector->expression_count; i++)
        if (!expression_match(&selector->expressions[i], labels))
            return false;
    return fl_labels_match(&selector->labels, labels);
}
