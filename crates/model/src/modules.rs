//! The attributes that describe a patient, study, series or instance: modules of PS3.3 C, in the edition that Orthanc follows.

use crate::Level;
use dataset::Tag;

/// Patient Module (PS3.3 C.7.1.1).
const PATIENT: &[Tag] = &[
    Tag(0x0008, 0x1120), // ReferencedPatientSequence
    Tag(0x0010, 0x0010), // PatientName
    Tag(0x0010, 0x0020), // PatientID
    Tag(0x0010, 0x0021), // IssuerOfPatientID
    Tag(0x0010, 0x0024), // IssuerOfPatientIDQualifiersSequence
    Tag(0x0010, 0x0030), // PatientBirthDate
    Tag(0x0010, 0x0032), // PatientBirthTime
    Tag(0x0010, 0x0040), // PatientSex
    Tag(0x0010, 0x1000), // OtherPatientIDs
    Tag(0x0010, 0x1001), // OtherPatientNames
    Tag(0x0010, 0x1002), // OtherPatientIDsSequence
    Tag(0x0010, 0x2160), // EthnicGroup
    Tag(0x0010, 0x2201), // PatientSpeciesDescription
    Tag(0x0010, 0x2202), // PatientSpeciesCodeSequence
    Tag(0x0010, 0x2292), // PatientBreedDescription
    Tag(0x0010, 0x2293), // PatientBreedCodeSequence
    Tag(0x0010, 0x2294), // BreedRegistrationSequence
    Tag(0x0010, 0x2297), // ResponsiblePerson
    Tag(0x0010, 0x2298), // ResponsiblePersonRole
    Tag(0x0010, 0x2299), // ResponsibleOrganization
    Tag(0x0010, 0x4000), // PatientComments
    Tag(0x0012, 0x0062), // PatientIdentityRemoved
    Tag(0x0012, 0x0063), // DeidentificationMethod
    Tag(0x0012, 0x0064), // DeidentificationMethodCodeSequence
];

/// General Study Module (PS3.3 C.7.2.1).
const STUDY: &[Tag] = &[
    Tag(0x0008, 0x0020), // StudyDate
    Tag(0x0008, 0x0030), // StudyTime
    Tag(0x0008, 0x0050), // AccessionNumber
    Tag(0x0008, 0x0051), // IssuerOfAccessionNumberSequence
    Tag(0x0008, 0x0090), // ReferringPhysicianName
    Tag(0x0008, 0x0096), // ReferringPhysicianIdentificationSequence
    Tag(0x0008, 0x1030), // StudyDescription
    Tag(0x0008, 0x1032), // ProcedureCodeSequence
    Tag(0x0008, 0x1048), // PhysiciansOfRecord
    Tag(0x0008, 0x1049), // PhysiciansOfRecordIdentificationSequence
    Tag(0x0008, 0x1060), // NameOfPhysiciansReadingStudy
    Tag(0x0008, 0x1062), // PhysiciansReadingStudyIdentificationSequence
    Tag(0x0008, 0x1110), // ReferencedStudySequence
    Tag(0x0020, 0x000D), // StudyInstanceUID
    Tag(0x0020, 0x0010), // StudyID
    Tag(0x0032, 0x1034), // RequestingServiceCodeSequence
    Tag(0x0040, 0x1012), // ReasonForPerformedProcedureCodeSequence
];

/// General Series Module (PS3.3 C.7.3.1).
const SERIES: &[Tag] = &[
    Tag(0x0008, 0x0021), // SeriesDate
    Tag(0x0008, 0x0031), // SeriesTime
    Tag(0x0008, 0x0060), // Modality
    Tag(0x0008, 0x103E), // SeriesDescription
    Tag(0x0008, 0x103F), // SeriesDescriptionCodeSequence
    Tag(0x0008, 0x1050), // PerformingPhysicianName
    Tag(0x0008, 0x1052), // PerformingPhysicianIdentificationSequence
    Tag(0x0008, 0x1070), // OperatorsName
    Tag(0x0008, 0x1072), // OperatorIdentificationSequence
    Tag(0x0008, 0x1111), // ReferencedPerformedProcedureStepSequence
    Tag(0x0008, 0x1250), // RelatedSeriesSequence
    Tag(0x0010, 0x2210), // AnatomicalOrientationType
    Tag(0x0018, 0x0015), // BodyPartExamined
    Tag(0x0018, 0x1030), // ProtocolName
    Tag(0x0018, 0x5100), // PatientPosition
    Tag(0x0020, 0x000E), // SeriesInstanceUID
    Tag(0x0020, 0x0011), // SeriesNumber
    Tag(0x0020, 0x0060), // Laterality
    Tag(0x0028, 0x0108), // SmallestPixelValueInSeries
    Tag(0x0040, 0x0244), // PerformedProcedureStepStartDate
    Tag(0x0040, 0x0245), // PerformedProcedureStepStartTime
    Tag(0x0040, 0x0253), // PerformedProcedureStepID
    Tag(0x0040, 0x0254), // PerformedProcedureStepDescription
    Tag(0x0040, 0x0260), // PerformedProtocolCodeSequence
    Tag(0x0040, 0x0275), // RequestAttributesSequence
    Tag(0x0040, 0x0280), // CommentsOnThePerformedProcedureStep
];

/// SOP Common Module (PS3.3 C.12.1).
const INSTANCE: &[Tag] = &[
    Tag(0x0008, 0x0005), // SpecificCharacterSet
    Tag(0x0008, 0x0012), // InstanceCreationDate
    Tag(0x0008, 0x0013), // InstanceCreationTime
    Tag(0x0008, 0x0014), // InstanceCreatorUID
    Tag(0x0008, 0x0016), // SOPClassUID
    Tag(0x0008, 0x0018), // SOPInstanceUID
    Tag(0x0008, 0x001A), // RelatedGeneralSOPClassUID
    Tag(0x0008, 0x001B), // OriginalSpecializedSOPClassUID
    Tag(0x0008, 0x0110), // CodingSchemeIdentificationSequence
    Tag(0x0008, 0x0201), // TimezoneOffsetFromUTC
    Tag(0x0018, 0xA001), // ContributingEquipmentSequence
    Tag(0x0020, 0x0013), // InstanceNumber
    Tag(0x0028, 0x0303), // LongitudinalTemporalInformationModified
    Tag(0x0040, 0xA390), // HL7StructuredDocumentReferenceSequence
    Tag(0x0100, 0x0410), // SOPInstanceStatus
    Tag(0x0100, 0x0420), // SOPAuthorizationDateTime
    Tag(0x0100, 0x0424), // SOPAuthorizationComment
    Tag(0x0100, 0x0426), // AuthorizationEquipmentCertificationNumber
    Tag(0x0400, 0x0500), // EncryptedAttributesSequence
    Tag(0x0400, 0x0561), // OriginalAttributesSequence
    Tag(0x4FFE, 0x0001), // MACParametersSequence
];

/// The attributes of a level's module, in tag order (Orthanc: `/{level}/{id}/module`).
pub fn of(level: Level) -> &'static [Tag] {
    match level {
        Level::Patient => PATIENT,
        Level::Study => STUDY,
        Level::Series => SERIES,
        Level::Instance => INSTANCE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_list_is_in_tag_order() {
        for level in Level::ALL {
            assert!(of(level).windows(2).all(|pair| pair[0] < pair[1]), "{level:?}");
        }
    }
}
