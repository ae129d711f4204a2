"""JSON schemas of a cluster's kinds, as kubeconform wants them: one file for each kind, standing alone, strict. They come from the API
server's own /openapi/v2, and for custom kinds from the CRDs' openAPIV3Schema, which that document holds with less in it."""
import json

# For kubeconform's --schema-location, behind the folder. The group of what has none is its version.
TEMPLATE = "{{.Group}}/{{.ResourceAPIVersion}}/{{.ResourceKind}}.json"
DEFINITIONS = "#/definitions/"
META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
LOOSE = {  # whose type in the document is not all that the API server reads
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
}


def strict(schema):
    """No members but those that are named; an int-or-string is either. What stands in anyOf and the like says more of the same members."""
    schema = dict(schema)
    if schema.pop("x-kubernetes-int-or-string", False) or schema.get("format") == "int-or-string":
        schema.pop("type", None)
        schema.pop("format", None)
        schema["anyOf"] = [{"type": "string"}, {"type": "integer"}]
    if "properties" in schema:
        schema["properties"] = {name: strict(member) for name, member in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            schema[name] = strict(schema[name])
    if schema.pop("nullable", False) and "type" in schema:
        schema["type"] = [schema["type"], "null"]
    return schema


def references(thing):
    if isinstance(thing, dict):
        if isinstance(thing.get("$ref"), str):
            yield thing["$ref"].removeprefix(DEFINITIONS)
        for member in thing.values():
            yield from references(member)
    elif isinstance(thing, list):
        for item in thing:
            yield from references(item)


class Schemas:
    def __init__(self, folder, openapi):
        self.folder, self.kinds = folder, set()
        self.definitions = {name: LOOSE.get(name) or strict(schema) for name, schema in openapi["definitions"].items()}
        for schema in self.definitions.values():
            for kind in schema.get("x-kubernetes-group-version-kind", ()):
                self.write(kind["group"], kind["version"], kind["kind"], schema)

    def add_crd(self, crd):
        for version in crd["spec"]["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            schema["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"$ref": DEFINITIONS + META}}
            self.write(crd["spec"]["group"], version["name"], crd["spec"]["names"]["kind"], schema)

    def write(self, group, version, kind, schema):
        needed, waiting = {}, set(references(schema))
        while waiting:
            name = waiting.pop()
            needed[name] = self.definitions[name]
            waiting |= set(references(needed[name])) - set(needed)
        path = self.folder / (group or version) / version / f"{kind.lower()}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**schema, "definitions": needed}))
        self.kinds.add((f"{group}/{version}" if group else version, kind))
