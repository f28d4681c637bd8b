package rest

import (
	"net/http"
	"strconv"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/fhirhttp"
	"firebreak/fhir/interaction"

	"github.com/labstack/echo/v4"
)

// metadata shows the CapabilityStatement, to anyone.
func (h handlers) metadata(c echo.Context) error {
	if mode := c.QueryParam("mode"); mode != "" && mode != "full" && mode != "normative" {
		return fhir.Errorf(fhir.Unsupported, "of the modes of metadata, full and normative are offered")
	}
	c.Response().Header().Set("ETag", h.metadataTag)
	if fhirhttp.NotModified(c.Request(), c.Response().Header()) {
		return c.NoContent(http.StatusNotModified)
	}
	return fhirhttp.JSON(c, http.StatusOK, h.Metadata)
}

// smart shows the SMART configuration, to anyone, and as JSON whatever the
// client would like
// (https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html).
func (h handlers) smart(c echo.Context) error {
	if h.SMART == nil {
		return fhir.Errorf(fhir.NotFound, "there is no SMART configuration: this server takes no tokens")
	}
	body, err := h.SMART(c.Request().Context())
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, body)
}

func (h handlers) read(c echo.Context) error {
	shown, err := h.Service.Read(c.Request().Context(), principal(c), address(c))
	return show(c, shown, err)
}

func (h handlers) vread(c echo.Context) error {
	version, err := strconv.ParseInt(c.Param("vid"), 10, 64)
	if err != nil || strconv.FormatInt(version, 10) != c.Param("vid") {
		version = 0 // which there never is
	}
	shown, err := h.Service.VRead(c.Request().Context(), principal(c), address(c), version)
	return show(c, shown, err)
}

// show answers a read. What is gone says in its headers since which version.
func show(c echo.Context, shown interaction.Shown, err error) error {
	if shown.Version > 0 {
		fhirhttp.SetVersion(c.Response().Header(), shown.Version, shown.LastUpdated)
	}
	switch {
	case err != nil:
		return err
	case fhirhttp.NotModified(c.Request(), c.Response().Header()):
		return c.NoContent(http.StatusNotModified)
	}
	return fhirhttp.JSON(c, http.StatusOK, shown.Body)
}

func (h handlers) create(c echo.Context) error {
	typ := c.Param("type")
	if err := interaction.CheckType(typ); err != nil {
		return err
	}
	if c.Request().Header.Get("If-None-Exist") != "" {
		return fhir.Errorf(fhir.Unsupported, "conditional create is not offered; leave If-None-Exist out")
	}
	data, err := fhirhttp.Body(c, h.MaxBody)
	if err != nil {
		return err
	}
	shown, err := h.Service.Create(c.Request().Context(), principal(c), typ, data)
	if err != nil {
		return err
	}
	return written(c, shown)
}

func (h handlers) update(c echo.Context) error {
	id := address(c)
	if err := interaction.CheckType(id.Type); err != nil {
		return err
	}
	when, err := condition(c.Request())
	if err != nil {
		return err
	}
	data, err := fhirhttp.Body(c, h.MaxBody)
	if err != nil {
		return err
	}
	shown, err := h.Service.Update(c.Request().Context(), principal(c), id, data, when)
	if err != nil {
		return err
	}
	return written(c, shown)
}

func (h handlers) remove(c echo.Context) error {
	when, err := condition(c.Request())
	if err != nil {
		return err
	}
	if when.Absent {
		return fhir.Errorf(fhir.Invalid, "If-None-Match does not go with DELETE")
	}
	shown, err := h.Service.Delete(c.Request().Context(), principal(c), address(c), when)
	if err != nil {
		return err
	}
	if shown.Version > 0 {
		c.Response().Header().Set("ETag", fhirhttp.ETag(shown.Version))
	}
	return c.NoContent(http.StatusNoContent)
}

func principal(c echo.Context) auth.Principal { return auth.PrincipalOf(c.Request().Context()) }

// address is the identity that the address names. Whether it can be one is for
// the interaction to say.
func address(c echo.Context) fhir.ID { return fhir.ID{Type: c.Param("type"), ID: c.Param("id")} }

// condition is what a write expects, by its headers.
func condition(r *http.Request) (interaction.Condition, error) {
	version, err := fhirhttp.IfMatch(r)
	if err != nil {
		return interaction.Condition{}, err
	}
	absent, err := fhirhttp.CreateOnly(r)
	if err == nil && absent && version > 0 {
		err = fhir.Errorf(fhir.Invalid, "If-Match and If-None-Match contradict each other")
	}
	return interaction.Condition{Version: version, Absent: absent}, err
}

// written answers a write with as much as the client prefers; all of the
// resource where it does not say.
func written(c echo.Context, shown interaction.Shown) error {
	status, h := http.StatusOK, c.Response().Header()
	fhirhttp.SetVersion(h, shown.Version, shown.LastUpdated)
	if shown.Created {
		status = http.StatusCreated
		h.Set("Location", fhirhttp.Base(c)+"/"+shown.ID.String()+"/_history/"+strconv.FormatInt(shown.Version, 10))
	}
	prefer := fhirhttp.ParsePrefer(c.Request().Header).Return
	if prefer != "" {
		h.Set("Preference-Applied", "return="+prefer)
	}
	switch prefer {
	case "minimal":
		return c.NoContent(status)
	case "OperationOutcome":
		return fhirhttp.Outcome(c, status, fhir.Issue{Severity: fhir.Information, Code: fhir.CodeInformational, Diagnostics: said(shown)})
	}
	return fhirhttp.JSON(c, status, shown.Body)
}

func said(shown interaction.Shown) string {
	switch {
	case shown.Created:
		return "the resource was created"
	case shown.Unchanged:
		return "the resource was so already; nothing was written"
	}
	return "the resource was updated"
}
