//! Garage's own description of its API.

use std::process::Command;

/// The calls that the client makes, with their methods.
const CALLS: &[(&str, &[&str])] = &[
    (
        "get",
        &[
            "GetBucketInfo",
            "GetClusterHealth",
            "GetClusterLayout",
            "GetClusterLayoutHistory",
            "GetClusterStatus",
            "GetCurrentAdminTokenInfo",
            "GetKeyInfo",
            "GetNodeStatistics",
            "ListAdminTokens",
            "ListBlockErrors",
            "ListBuckets",
            "ListKeys",
        ],
    ),
    (
        "post",
        &[
            "AddBucketAlias",
            "AllowBucketKey",
            "ApplyClusterLayout",
            "ClusterLayoutSkipDeadNodes",
            "ConnectClusterNodes",
            "CreateAdminToken",
            "CreateBucket",
            "CreateMetadataSnapshot",
            "DeleteAdminToken",
            "DeleteKey",
            "DenyBucketKey",
            "GetBlockInfo",
            "GetWorkerInfo",
            "GetWorkerVariable",
            "ImportKey",
            "LaunchRepairOperation",
            "ListWorkers",
            "PreviewClusterLayoutChanges",
            "RemoveBucketAlias",
            "RetryBlockResync",
            "RevertClusterLayout",
            "SetWorkerVariable",
            "UpdateAdminToken",
            "UpdateBucket",
            "UpdateClusterLayout",
            "UpdateKey",
        ],
    ),
];

#[test]
fn every_call_is_in_garages_own_description_with_its_method() {
    let program = hayloft_garage_fixture::program().unwrap();
    let output = Command::new(program).arg("admin-api-schema").output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let paths = &schema["paths"];
    for (method, calls) in CALLS {
        for call in *calls {
            assert!(
                paths[format!("/v2/{call}")][method].is_object(),
                "Garage does not know {method} {call}"
            );
        }
    }
}
