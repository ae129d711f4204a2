/* Names as RFC 1123 and Kubernetes read them: lower-case letters, digits and '-', beginning and ending with no '-'. */
#ifndef FL_MESH_DNSNAME_H
#define FL_MESH_DNSNAME_H

#include "common/base/span.h"

#define FL_DNS_LABEL_MAX     63  /* bytes */
#define FL_DNS_SUBDOMAIN_MAX 253 /* bytes */

bool fl_dns_is_label(struct fl_span text);
/* Labels with dots between them. */
bool fl_dns_is_subdomain(struct fl_span text);

#endif
